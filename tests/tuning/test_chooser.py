"""The one place that chooses schedules: records first, then the model; the same records give the same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnx
import pytest

import mdcompiler
from mdcompiler.backends.clib import choose_strips
from mdcompiler.backends.kernels.choose_schedule import Choice, Chooser, key_of, shipped_records
from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.templates import TEMPLATES, templates_for, tools
from mdcompiler.target import Target, find_target
from mdcompiler.tuning.canonical import canonical, complete, plain, restored
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Record
from mdcompiler.tuning.record_file import good_records, write_records
from mdcompiler.tuning.records import Records
from tests.graphs import Sketch

TARGET = find_target("x86-64-v3")
WORK = Convolution(Geometry((20, 20), (3, 3), (1, 1), (1, 1), (20, 20)), 32, 64, TARGET.lanes)


def measured(work: Any, schedule: Any, template: str = "convolution", target: Target = TARGET, **more: Any) -> Record:
    fields = {
        "template": template,
        "version": TEMPLATES[template].version,
        "tools": tools(),
        "machine": Machine.of(target),
        "workload": plain(work),
        "schedule": complete(schedule),
        "min_ns": 100.0,
        "median_ns": 100.0,
        "trials": 1,
    }
    return Record.model_validate({**fields, **more})


def test_a_record_goes_before_the_model() -> None:
    template = TEMPLATES["convolution"]
    likes = Chooser(TARGET, Records()).best(template, WORK)
    assert not likes.measured
    for schedule in template.space(WORK, TARGET)[:3]:
        choice = Chooser(TARGET, Records([measured(WORK, schedule)])).choose(WORK, "a/b/c")
        assert (choice.template, choice.schedule, choice.measured) == (template, schedule, True)


def test_the_faster_of_two_measured_templates_is_taken() -> None:
    assert [template.name for template in templates_for(WORK)] == ["convolution", "winograd"]
    for direct_ns, expected in ((50.0, "convolution"), (200.0, "winograd")):
        spaces = {name: TEMPLATES[name].space(WORK, TARGET) for name in ("convolution", "winograd")}
        records = Records(
            [
                measured(WORK, spaces["convolution"][0], min_ns=direct_ns),
                measured(WORK, spaces["winograd"][0], "winograd"),
            ]
        )
        assert Chooser(TARGET, records).choose(WORK).template.name == expected


@pytest.mark.parametrize(
    "schedule", [{"pixels": 10**9, "groups": 1, "rows_outer": False}, {"pixels": 1}, {"pixels": "1"}, {"tile": 3}]
)
def test_a_recorded_schedule_that_the_template_does_not_have_is_passed_over(schedule: dict[str, Any]) -> None:
    good = measured(WORK, TEMPLATES["convolution"].space(WORK, TARGET)[0])
    bad = good.model_copy(update={"schedule": schedule})
    assert not Chooser(TARGET, Records([bad])).choose(WORK).measured


def test_another_machine_of_the_level_takes_the_record_and_a_lesser_one_does_not() -> None:
    schedule = TEMPLATES["convolution"].space(WORK, TARGET)[0]
    records = Records([measured(WORK, schedule)])
    haswell = TARGET.model_copy(update={"llvm": {**TARGET.llvm, "mcpu": "haswell"}})
    assert Chooser(haswell, records).choose(WORK).measured
    assert not Chooser(TARGET.model_copy(update={"cpu_flags": ()}), records).choose(WORK).measured


def test_who_asked_is_remembered() -> None:
    chooser = Chooser(TARGET, Records())
    chooser.choose(WORK, "stage/b0/conv")
    chooser.choose(WORK, "stage/b1/conv")
    assert chooser.asked == {WORK: ["stage/b0/conv", "stage/b1/conv"]}


def test_estimates_grow_with_the_work() -> None:
    model, template = Chooser(TARGET, Records()).model, TEMPLATES["convolution"]
    larger = Convolution(WORK.geometry, 2 * WORK.in_channels, WORK.out_channels, WORK.lanes)
    times = [model.time_ns(template, work, model.ranked(template, work, TARGET)[0], TARGET) for work in (WORK, larger)]
    assert times[0] is not None
    assert times[1] is not None
    assert 1.3 * times[0] < times[1] < 3 * times[0]


def test_every_template_is_fitted_and_every_term_counted() -> None:
    chooser = Chooser(TARGET, Records())
    for template in templates_for(WORK):
        schedule = template.space(WORK, TARGET)[0]
        assert template.counts is not None
        assert len(template.counts(WORK, schedule, TARGET)) == len(template.terms)
        assert chooser.model.time_ns(template, WORK, schedule, TARGET)


def test_every_shipped_record_is_of_use() -> None:
    """It has the installed versions, its file is sorted, and its schedule is one that the template has."""
    targets = {canonical(Machine.of(target).model_dump(mode="json")): target for target in map(find_target, _SHIPPED)}
    for file in shipped_records():
        records = good_records(file)
        assert [record.key for record in records] == sorted(record.key for record in records)
        assert records
        for record in records:
            target = targets[canonical(record.machine.model_dump(mode="json"))]
            if record.template == choose_strips.TEMPLATE:
                assert record.version == choose_strips.VERSION
                assert int(record.schedule["rows"]) >= 0
                continue
            template = TEMPLATES[record.template]
            work: Any = restored(template.workload, record.workload)
            assert record.key == key_of(template, work, canonical(tools()))
            assert record.schedule in [complete(schedule) for schedule in template.space(work, target)]


_SHIPPED = ("x86-64-v3", "x86-64-v4", "x86-64-v4-vnni")


def test_the_same_records_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_CACHE", "off")
    records = tmp_path / "records.jsonl"
    write_records(records, [measured(work, _disliked(work)) for work in _works(tmp_path, monkeypatch)])
    digests = [_compiled(tmp_path, chosen, monkeypatch) for chosen in ("off", str(records), str(records))]
    assert digests[1] == digests[2]
    assert digests[0] != digests[1]


def _compiled(folder: Path, records: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Hash of the library of a network of two convolutions."""
    sketch = Sketch()
    image = sketch.input("image", [1, 8, 12, 12])
    deep = sketch.conv("first", image, (8, 24), kernel=3)
    model = sketch.model(sketch.conv("second", deep, (24, 40)))
    onnx.save(model, folder / "network.onnx")
    monkeypatch.setenv("MDC_RECORDS", records)
    artifact = mdcompiler.compile(folder / "network.onnx", TARGET, threads=1, check=False)
    return hashlib.sha256((artifact.directory / "model.so").read_bytes()).hexdigest()


def _works(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Convolution]:
    """What the network asks schedules for."""
    asked: list[Convolution] = []
    choose = Chooser.choose

    def remember(self: Chooser, work: Any, kernel: str = "", direct: bool = False) -> Choice:
        asked.append(work)
        return choose(self, work, kernel, direct)

    with monkeypatch.context() as patch:
        patch.setattr(Chooser, "choose", remember)
        _compiled(folder, "off", patch)
    return asked


def _disliked(work: Convolution) -> Any:
    """The schedule that the model would take last."""
    return Chooser(TARGET, Records()).model.ranked(TEMPLATES["convolution"], work, TARGET)[-1]

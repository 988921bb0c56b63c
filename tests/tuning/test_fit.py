"""Fitting the cost model: known times come back, whole workloads may be slow for reasons of their own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mdcompiler.backends.kernels.cost_model import CostModel
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.backends.kernels.fit_cost_model import Sample, errors, fit, main, slowdown
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.backends.kernels.templates import TEMPLATES, tools
from mdcompiler.target import find_target
from mdcompiler.tuning.canonical import complete, plain
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Measurement, Record
from mdcompiler.tuning.record_file import write_records

TRUE = np.array([2.0, 0.0, 0.5])
TARGET = find_target("x86-64-v3")


def samples(networks: int = 3) -> list[Sample]:
    random = np.random.default_rng(0)
    made = []
    for index in range(12):
        counts = random.integers(1, 100, (6, 3)).astype(float)
        slow = 1.0 + 0.3 * (index % 2)
        made.append(Sample(f"net{index % networks}", counts, counts @ TRUE * slow))
    return made


def test_known_times_come_back_up_to_the_factor_of_whole_workloads() -> None:
    found = fit(samples())
    np.testing.assert_allclose(found / found[0], TRUE / TRUE[0], atol=1e-3)
    assert 2.0 < found[0] < 2.6
    assert all(slowdown(sample, found) == pytest.approx(1.0) for sample in samples())


def test_each_network_is_judged_by_a_fit_without_it() -> None:
    stated = errors(samples())
    assert stated["networks"] == ["net0", "net1", "net2"]
    assert stated["fitted"]["worst"] == stated["left_out"]["worst"] == 1.0
    odd = [*samples(), Sample("net3", np.eye(3)[:2] + 1.0, np.array([1.0, 9.0]))]
    assert errors(odd)["left_out"]["worst"] == 9.0
    assert errors(samples(networks=1))["left_out"] == {}


def window_record(size: int, channels: int) -> Record:
    """Times of the shipped model, half as fast again."""
    template = TEMPLATES["window"]
    work = Window(Geometry((size, size), (3, 3), (1, 1), (1, 1), (size, size)), channels, TARGET.lanes)
    schedules = template.space(work, TARGET)
    times = [(CostModel.shipped().time_ns(template, work, item, TARGET) or 0.0) * 1.5 for item in schedules]
    measured = [
        Measurement(schedule=complete(item), min_ns=time, median_ns=time)
        for item, time in zip(schedules, times, strict=True)
    ]
    best = min(measured, key=lambda item: item.min_ns or 0.0)
    return Record(
        template=template.name,
        version=template.version,
        tools=tools(),
        machine=Machine.of(TARGET),
        workload=plain(work),
        schedule=best.schedule,
        min_ns=best.min_ns or 1.0,
        median_ns=best.median_ns or 1.0,
        trials=len(measured),
        network=f"net{size % 2}",
        measured=tuple(measured),
    )


def test_the_command_writes_a_model_with_its_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records, out = tmp_path / "records.jsonl", tmp_path / "model.json"
    write_records(records, [window_record(size, 32 * size) for size in range(5, 21)])
    main([str(records), "--out", str(out)])
    table = json.loads(out.read_text())["templates"]
    assert table["window"]["32"]["error"]["left_out"]["median"] <= 1.02
    before = json.loads((Path(CostModel.shipped.__code__.co_filename).with_name("cost_model.json")).read_text())
    assert table["convolution"] == before["templates"]["convolution"]
    assert "window 32 bytes: " in capsys.readouterr().out
    first = out.read_bytes()
    main([str(records), "--out", str(out)])
    assert out.read_bytes() == first

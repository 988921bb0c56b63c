"""Tuning by counted packets: through the ordinary command and records, the same each time, shipped for the zoo."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mdcompiler.backends.hexagon.backend import HexagonBackend
from mdcompiler.backends.hexagon.choose import Chooser, shipped_records
from mdcompiler.backends.hexagon.convolution import HvxConvolution, Window
from mdcompiler.backends.hexagon.depthwise import HvxWindow
from mdcompiler.backends.hexagon.ending import Ending, Sum
from mdcompiler.backends.hexagon.packet_bench import PacketBench
from mdcompiler.backends.hexagon.templates import convolution_tiles, estimate, template_of, window_rows, workload_of
from mdcompiler.backends.hexagon.tuner import HexagonTuner, job
from mdcompiler.errors import TuningError
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.spec import SearchSpace, load_spec
from mdcompiler.target import Target, find_target
from mdcompiler.tuning.canonical import canonical, plain
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record_file import append_record, good_records
from mdcompiler.tuning.records import Records
from mdcompiler.tuning.session import Budget, Purpose, Session
from mdcompiler.tuning.tunable import Device, Tunable, unit_of
from tests.backends.test_integer_networks import quantized
from tests.conftest import Mdc

V66 = find_target("hexagon-v66")
POINTWISE = HvxConvolution(Window(2 * 12 * 32, 2, 12 * 32, (1, 1), 12 * 32, 32, 8, 8, 32, 12 * 32), 2, (1, 12))
DEPTHWISE = HvxWindow(1, (10, 12), (3, 3), 1, (8, 10))
EVERYTHING = Budget(3, float("inf"))


def run(target: Target, file: Path, work: Any) -> list[str]:
    """Tune one workload with what the file holds; the states of its outcomes."""
    known = Records(good_records(file) if file.exists() else ())
    jobs = [job(Chooser(target, known), work, ("C1/b0.conv/conv",), EVERYTHING.trials)]
    tuner = HexagonTuner()
    purpose = Purpose(Machine.of(target), tuner.tools, "net", unit_of(tuner, target))
    with tuner.bench(target, None) as bench:
        return [outcome.state for outcome in Session(bench, purpose, file).run(jobs, known, EVERYTHING)]


@pytest.mark.parametrize("work", [POINTWISE, DEPTHWISE])
def test_the_fewest_packets_are_recorded_once(work: Any, hexagon: Target, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(hexagon, first, work) == ["tuned"]
    assert run(hexagon, first, work) == ["recorded"]
    assert run(hexagon, second, work) == ["tuned"]
    (record,), (again,) = good_records(first), good_records(second)
    assert record.unit == "packets"
    assert record.min_ns == min(item.min_ns for item in record.measured if item.min_ns)
    assert record.model_copy(update={"when": ""}) == again.model_copy(update={"when": ""}), "counts never differ"
    tuned = Chooser(hexagon, Records([record]))
    assert vars(tuned.schedule(work)) == record.schedule


def test_candidates_that_die_are_reported(hexagon: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that QEMU cannot finish is split, so that only the candidate at fault has no count."""
    with PacketBench(hexagon) as bench:
        made = job(Chooser(hexagon, Records()), DEPTHWISE, ("k",), 2)
        found = bench.measure([(made, made.candidates)])
        real = bench._output

        def dies_with_company(program: bytes) -> str:
            counts = real(program)
            return _fail() if len(counts.splitlines()) > 1 or counts == worst else counts

        worst = f"{int(max(item.min_ns or 0 for item in found[0]))}\n"
        monkeypatch.setattr(bench, "_output", dies_with_company)
        after = bench.measure([(made, made.candidates)])
    assert sorted(bool(item.failure) for item in after[0]) == [False, True]
    assert "running: " in next(item.failure for item in after[0] if item.failure)


def _fail() -> str:
    from mdcompiler.errors import InternalError

    raise InternalError("counting packets: QEMU ended with status 11: ")


def test_a_device_is_refused() -> None:
    with pytest.raises(TuningError, match=r"counted by QEMU on this machine\. Leave out --rpc"):
        HexagonTuner().bench(V66, Device("127.0.0.1", 9190, "phone"))


@pytest.mark.parametrize("work", [POINTWISE, DEPTHWISE])
def test_records_are_about_what_no_network_decides(work: Any) -> None:
    """Scales say which operand of a sum is halved and whether factors are large; records serve any scales."""
    assert canonical(plain(workload_of(replace(work, ending=Ending(raises=True))))) == canonical(plain(work))
    with_ending = workload_of(replace(work, ending=Ending(True, True, Sum(True, False))))
    assert with_ending.ending == Ending(table=True, add=Sum(own_is_half=False, other_is_half=True))
    assert canonical(plain(with_ending)) != canonical(plain(work)), "what follows a sum decides which tile is best"


def test_schedules_fit_the_registers_and_the_work() -> None:
    tiles = convolution_tiles(POINTWISE, V66)
    assert tiles == sorted(tiles, key=lambda tile: estimate(POINTWISE, tile))
    assert len(set(tiles)) == len(tiles) > 20
    assert all(tile.pixels * tile.groups <= 26 and tile.pixels <= 12 for tile in tiles)
    assert {rows.rows for rows in window_rows(DEPTHWISE, V66)} == {1, 2, 3, 4, 5, 6}
    assert template_of(POINTWISE).name != template_of(DEPTHWISE).name


def test_a_record_for_v66_serves_v68_but_no_other_family(tmp_path: Path) -> None:
    record = good_records(shipped_records()[0])[0]
    records = Records([record])
    assert records.find(record.key, Machine.of(find_target("hexagon-v68"))) == record
    assert records.find(record.key, Machine.of(find_target("cortex-a76"))) is None


ZOO = ["mobiledet-cpu", "mobiledet-dsp", "mobiledet-edgetpu", "mobiledet-gpu"]


@pytest.mark.parametrize("name", ZOO)
def test_the_zoo_has_records_for_all_it_asks_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of the workloads' fields or of a template's version orphans the records; then tune again."""
    monkeypatch.setenv("MDC_RECORDS", "off")
    module, pipeline = quantized(load_spec(name), find_scheme(V66.scheme), V66.name)
    pipeline.run(module, HexagonBackend().passes(V66))
    chooser = Chooser.open(V66)
    backend = HexagonBackend()
    assert isinstance(backend, Tunable)
    jobs = backend.tuner().jobs(module, 1)
    missing = [item.kernels for item in jobs if chooser.records.find(item.key, Machine.of(V66)) is None]
    assert len(jobs) > 40
    assert not missing


def test_the_command_tunes_in_packets(hexagon: Target, mdc: Mdc, tmp_path: Path, monkeypatch: Any) -> None:
    """From the spec alone: integers are made by the command, since the target has no floats."""
    monkeypatch.setenv("MDC_RECORDS", "off")
    spec, file = tmp_path / "small.yaml", tmp_path / "records.jsonl"
    spec.write_text(SearchSpace.small().sample(1).to_yaml())
    code, out, err = mdc("tune", spec, "--target", "hexagon-v66", "--trials", 1, "--records", file, "--json")
    assert code == 0, err
    records = good_records(file)
    assert records
    assert {record.unit for record in records} == {"packets"}
    assert all(row["before_packets"] >= row["after_packets"] > 0 for row in json.loads(out)["blocks"])
    append_record(file, records[0])
    assert mdc("records", "merge", file, "--out", tmp_path / "merged")[0] == 0
    assert mdc("records", "prune", file)[0] == 0
    assert good_records(file) == good_records(tmp_path / "merged")
    assert len(good_records(file)) == len(records)
    shown = mdc("records", "list", file, "--target", "hexagon-v68")[1]
    assert "packets" in shown
    assert "hexagonv66" in shown

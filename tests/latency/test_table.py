"""Tables of block latencies: every block of a space is in them, they add up, and measuring goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from math import inf
from pathlib import Path

import onnx
import pytest

import mdcompiler
from mdcompiler.backends.null import NullBackend
from mdcompiler.errors import OutputError, RecordsError, TargetError
from mdcompiler.latency import predict, read_table
from mdcompiler.latency.chip import find_chip
from mdcompiler.latency.fill_table import Budget, fill_measured, fill_predicted, table_head
from mdcompiler.latency.measure_block import block_model, check_runs_here, describe_host, measure_block
from mdcompiler.latency.predict import find_calibration
from mdcompiler.latency.signature import signature
from mdcompiler.latency.space_blocks import space_blocks, spec_blocks
from mdcompiler.latency.table import Table, append_row
from mdcompiler.spec import SearchSpace, build_network, load_spec
from mdcompiler.spec.network import PlacedBlock
from mdcompiler.target import find_target

SMALL = replace(SearchSpace.small(), heights=(47,), widths=(64,), activations=("relu6", "swish"), se_ratios=(0.0, 0.25))

SPACES = {"small": SMALL, "mobiledet": SearchSpace.mobiledet()}


def _table(blocks: dict[str, PlacedBlock], path: Path, chip: str) -> Table:
    calibration = find_calibration(find_chip(chip))
    return fill_predicted(blocks, table_head("", calibration), calibration, path)


@lru_cache
def _keys(space: str) -> frozenset[str]:
    return frozenset(space_blocks(SPACES[space]))


@pytest.mark.parametrize("space", SPACES)
def test_a_space_holds_the_blocks_of_its_networks(space: str) -> None:
    keys = _keys(space)
    for seed in range(20):
        spec = SPACES[space].sample(seed)
        assert spec_blocks(spec).keys() <= keys


@pytest.mark.parametrize("name", ["mobiledet-cpu", "mobiledet-dsp", "mobiledet-edgetpu", "mobiledet-gpu"])
def test_the_published_space_holds_the_published_networks(name: str) -> None:
    assert spec_blocks(load_spec(name)).keys() <= _keys("mobiledet")


def test_equal_signatures_are_equal_work() -> None:
    seen: dict[str, tuple[int, tuple[int, ...]]] = {}
    for seed in range(30):
        for block in build_network(SMALL.sample(seed)).blocks:
            work = (block.macs, block.output.shape)
            assert seen.setdefault(signature(block), work) == work


@pytest.mark.parametrize("chip", ["coral-edgetpu", "pixel4-dsp", "jetson-xavier", "pixel1-cpu"])
def test_predicted_rows_add_up_to_the_prediction(tmp_path: Path, chip: str) -> None:
    table = _table(space_blocks(SMALL), tmp_path / "lut.json", chip)
    for seed in range(5):
        spec = SMALL.sample(seed)
        assert table.total_us(spec) == pytest.approx(predict(spec, chip).total_ms * 1e3, rel=1e-9)


def test_weights_that_do_not_fit_are_added_for_the_whole_network(tmp_path: Path) -> None:
    spec = load_spec("mobiledet-gpu")
    table = _table(spec_blocks(spec), tmp_path / "lut.json", "coral-edgetpu")
    assert table.total_us(spec) == pytest.approx(predict(spec, "coral-edgetpu").total_ms * 1e3, rel=1e-9)


def test_read_back(tmp_path: Path) -> None:
    path = tmp_path / "lut.json"
    table = _table(spec_blocks(SMALL.sample(1)), path, "pixel4-dsp")
    again = read_table(path)
    assert (again.head, again.rows) == (table.head, table.rows)
    before = path.read_bytes()
    _table(spec_blocks(SMALL.sample(1)), path, "pixel4-dsp")
    assert path.read_bytes() == before


def test_a_network_outside_the_table(tmp_path: Path) -> None:
    table = _table(spec_blocks(SMALL.sample(1)), tmp_path / "lut.json", "pixel4-dsp")
    with pytest.raises(RecordsError, match=r"mobiledet-cpu: the table has no row for C1/b0.conv \(conv3s2 3>16"):
        table.total_us(load_spec("mobiledet-cpu"))


def test_a_table_of_something_else_stays_as_it_is(tmp_path: Path) -> None:
    path, blocks = tmp_path / "lut.json", spec_blocks(SMALL.sample(1))
    _table(blocks, path, "pixel4-dsp")
    before = path.read_bytes()
    with pytest.raises(RecordsError, match=r"it is of chip pixel4-dsp, int8, pixel4-dsp, not of chip coral-edgetpu"):
        _table(blocks, path, "coral-edgetpu")
    assert path.read_bytes() == before


def test_measurements_of_another_processor_are_refused(tmp_path: Path) -> None:
    path, blocks = tmp_path / "lut.json", spec_blocks(SMALL.sample(2))
    table = fill_predicted(blocks, table_head("cpu", None, describe_host(1)), None, path)
    fill_measured(blocks, table, lambda block: 1.0, Budget(1, inf), path)
    with pytest.raises(RecordsError, match=r"thread, not of target cpu, fp32, .*, 2 threads"):
        fill_predicted(blocks, table_head("cpu", None, describe_host(2)), None, path)


def test_measured_blocks_stand_evenly_over_the_space(tmp_path: Path) -> None:
    path, blocks = tmp_path / "lut.json", spec_blocks(SMALL.sample(2))
    table = fill_predicted(blocks, table_head("cpu", None, "a processor"), None, path)
    assert not path.exists(), "no rows, no file"
    assert fill_measured(blocks, table, lambda block: 1.0, Budget(4, inf), path) == 4
    places = [list(blocks).index(key) for key in read_table(path).rows]
    assert places == [0, len(blocks) // 4, len(blocks) // 2, len(blocks) * 3 // 4]


def test_a_failed_measurement_leaves_no_table(tmp_path: Path) -> None:
    def broken(block: PlacedBlock) -> float:
        raise TargetError("no clock")

    path, blocks = tmp_path / "lut.json", spec_blocks(SMALL.sample(2))
    table = fill_predicted(blocks, table_head("cpu", None, "a processor"), None, path)
    with pytest.raises(TargetError, match="no clock"):
        fill_measured(blocks, table, broken, Budget(4, inf), path)
    assert not path.exists()


def test_measuring_stops_goes_on_and_survives_half_a_line(tmp_path: Path) -> None:
    path, blocks = tmp_path / "lut.json", spec_blocks(SMALL.sample(2))
    head, timed = table_head("cpu", None, "a processor"), list[str]()

    def measure(block: PlacedBlock) -> float:
        timed.append(signature(block))
        return float(len(timed))

    first = fill_predicted(blocks, head, None, path)
    assert fill_measured(blocks, first, measure, Budget(3, inf), path) == 3
    with path.open("ab") as file:
        file.write(b'{"key": "conv')
    again = fill_predicted(blocks, head, None, path)
    assert list(again.rows) == timed
    assert fill_measured(blocks, again, measure, Budget(0, inf), path) == 0
    assert fill_measured(blocks, again, measure, Budget(99, -1), path) == 0
    assert fill_measured(blocks, again, measure, Budget(99, inf), path) == len(blocks) - 3
    assert sorted(timed) == sorted(blocks)
    table = read_table(path)
    assert all(row.how == "measured" for row in table.rows.values())
    total = sum(table.rows[signature(block)].latency_us for block in build_network(SMALL.sample(2)).blocks)
    assert table.total_us(SMALL.sample(2)) == pytest.approx(total)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 is not that of a latency table"),
        ("{}\n", "line 1 is not that of a latency table"),
        ('{HEAD}\n{"key": 3}\n{ROW}\n', r"line 2 is no row: key: Input should be a valid string"),
        ("{HEAD}\nnan\n{ROW}\n", r"line 2 is no row: Expecting value"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "lut.json"
    table = _table(spec_blocks(SMALL.sample(1)), path, "pixel4-dsp")
    row = next(iter(table.rows.values())).model_dump_json()
    path.write_text(text.replace("{HEAD}", table.head.model_dump_json()).replace("{ROW}", row))
    with pytest.raises(RecordsError, match=message):
        read_table(path)


@pytest.mark.parametrize("half", [b"", b'{"key": "conv', b'{"key": "' + b"x" * 200_000])
def test_a_row_is_never_glued_to_half_a_line(tmp_path: Path, half: bytes) -> None:
    path, blocks = tmp_path / "lut.json", spec_blocks(SMALL.sample(2))
    path.touch()
    table = fill_predicted(blocks, table_head("cpu", None, "a processor"), None, path)
    assert fill_measured(blocks, table, lambda block: 1.0, Budget(1, inf), path) == 1
    with path.open("ab") as file:
        file.write(half)
    append_row(next(iter(table.rows.values())).model_copy(update={"key": "new"}), path)
    assert list(read_table(path).rows) == [*table.rows, "new"]
    path.write_bytes(path.read_bytes().rstrip())
    append_row(next(iter(table.rows.values())).model_copy(update={"key": "last"}), path)
    assert list(read_table(path).rows) == [*table.rows, "new", "last"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("macs", "1" * 40),
        ("macs", "true"),
        ("latency_us", "1e400"),
        ("latency_us", "NaN"),
        ("latency_us", "-1.0"),
        ("kernel", "0"),
        ("out", '"3"'),
        ("kind", r'"\ud800"'),
        ("inner", "[2.5]"),
    ],
)
def test_odd_numbers_are_refused_with_their_line(tmp_path: Path, field: str, value: str) -> None:
    path = tmp_path / "lut.json"
    table = _table(spec_blocks(SMALL.sample(1)), path, "pixel4-dsp")
    row = json.loads(next(iter(table.rows.values())).model_dump_json())
    row[field] = "VALUE"
    path.write_text(f"{table.head.model_dump_json()}\n" + json.dumps(row).replace('"VALUE"', value) + "\n")
    with pytest.raises(RecordsError, match="line 2 is no row: "):
        read_table(path)


def test_unreadable_and_unwritable_places(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="No such file"):
        read_table(tmp_path / "none.json")
    row = next(iter(_table(spec_blocks(SMALL.sample(1)), tmp_path / "lut.json", "pixel4-dsp").rows.values()))
    with pytest.raises(OutputError, match="adding to"):
        append_row(row, tmp_path / "none" / "lut.json")


def test_a_block_alone_has_the_kernels_that_it_has_in_the_network(tmp_path: Path) -> None:
    """Why measured rows may be added up: nothing is fused across blocks, and no kernel is missing."""
    spec = SMALL.sample(3)
    whole = mdcompiler.compile(spec, "null", tmp_path / "whole", check=False, threads=1).manifest.kernels
    for block in build_network(spec).blocks[1:]:
        file = tmp_path / "block.onnx"
        onnx.save(block_model(block), file)
        alone = mdcompiler.compile(file, "null", check=False, threads=1).manifest.kernels
        assert sum(kernel.macs for kernel in alone) == block.macs
        inside = [kernel for kernel in whole if kernel.block == block.path]
        assert [(kernel.name, kernel.macs) for kernel in alone] == [(kernel.name, kernel.macs) for kernel in inside]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("place", [1, -1], ids=["block", "head"])
def test_a_block_is_measured_on_this_machine(precision: str, place: int) -> None:
    block = build_network(SMALL.sample(3)).blocks[place]
    assert 0 < measure_block(block, find_target("cpu"), runs=3, precision=precision) < inf


def test_kernels_that_run_as_one_are_counted(tmp_path: Path) -> None:
    """A chain of convolutions has a name of its own in the profile."""
    block = spec_blocks(load_spec("mobiledet-edgetpu").with_(width=0.5, height=96, width_px=96))
    tucker = next(item for item in block.values() if item.kind == "tucker")
    assert measure_block(tucker, find_target("cpu"), runs=1) > 0


def test_a_target_that_does_not_run_here_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NullBackend, "why_not_run", lambda self, target: "No device.", raising=False)
    with pytest.raises(
        TargetError, match=r"measuring blocks for null: No device\. Leave --measure out to predict inst"
    ):
        check_runs_here(find_target("null"))


def test_what_no_clock_is_read_for_is_refused() -> None:
    block = build_network(SMALL.sample(3)).blocks[1]
    with pytest.raises(TargetError, match=r"measuring blocks for null: nothing here times its kernels\. Give --chip"):
        measure_block(block, find_target("null"), runs=1)

"""Records: which machine they serve, who wins, and what a file may hold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.errors import OutputError, RecordsError
from mdcompiler.target import find_target
from mdcompiler.tuning import record_file
from mdcompiler.tuning.canonical import canonical, plain, restored
from mdcompiler.tuning.machine import Machine, fitness
from mdcompiler.tuning.record_file import append_record, good_records, parse_records, read_records, write_records
from mdcompiler.tuning.records import Records, open_records, user_file
from tests.tuning.sessions import MACHINE, job, record

V3, V4, VNNI = (Machine.of(find_target(name)) for name in ("x86-64-v3", "x86-64-v4", "x86-64-v4-vnni"))


def other_cpu(name: str, like: str) -> Machine:
    """A target file of a user for a processor that has what `like` has."""
    target = find_target(like)
    return Machine.of(target.model_copy(update={"llvm": {**target.llvm, "mcpu": name}}))


@pytest.mark.parametrize(
    ("measured", "wanted", "serves"),
    [
        (V4, V4, True),
        (V4, VNNI, True),
        (VNNI, V4, False),
        (V3, V4, False),
        (V4, V3, False),
        (V4, other_cpu("znver5", "x86-64-v4-vnni"), True),
        (V3, other_cpu("haswell", "x86-64-v3"), True),
        (V4, V4.model_copy(update={"llvm": {**V4.llvm, "mtriple": "aarch64-unknown-linux-gnu"}}), False),
        (V4, V4.model_copy(update={"vector_registers": 16}), False),
    ],
)
def test_a_record_serves_its_feature_level_only(measured: Machine, wanted: Machine, serves: bool) -> None:
    assert (fitness(measured, wanted) is not None) == serves


def test_this_machine_takes_the_records_of_its_level() -> None:
    cpu = find_target("cpu")
    assert fitness(Machine.of(cpu), Machine.of(cpu.model_copy(update={"name": "other"}))) is not None


def test_the_same_machine_goes_before_the_level_and_the_nearer_level_before_the_other() -> None:
    zen5 = other_cpu("znver5", "x86-64-v4-vnni")
    found = [record(1, tile, machine=machine) for tile, machine in ((1, zen5), (2, VNNI), (4, V4))]
    for count, expected in ((3, 1), (2, 2), (1, 4)):
        chosen = Records(found[3 - count :]).find(job(1).key, zen5)
        assert chosen is not None
        assert chosen.schedule == {"tile": expected}


def test_the_users_records_go_before_those_that_ship() -> None:
    shipped, own = [record(1, tile=4, trials=500)], [record(1, tile=1, trials=1)]
    chosen = Records(shipped, own).find(job(1).key, MACHINE)
    assert chosen is not None
    assert chosen.schedule == {"tile": 1}


@pytest.mark.parametrize("change", [{"version": 2}, {"tools": {"tvm": "1"}}, {"template": "other"}])
def test_another_version_of_anything_is_no_record(change: dict[str, Any]) -> None:
    assert Records([record(1, **change)]).find(job(1).key, MACHINE) is None


def test_more_trials_win_and_then_the_later_one() -> None:
    assert [item.schedule["tile"] for item in Records([record(1, 1, trials=9), record(1, 4)]).best()] == [1]
    assert [item.schedule["tile"] for item in Records([record(1, 1), record(1, 4)]).best()] == [4]


def test_a_file_gives_back_what_was_appended(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "records.jsonl"
    for size in range(3):
        append_record(path, record(size))
    assert good_records(path) == [record(size) for size in range(3)]


def test_half_a_last_line_is_passed_over_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    append_record(path, record(1))
    append_record(path, record(2))
    path.write_bytes(path.read_bytes()[:-20])
    assert good_records(path) == [record(1)]
    append_record(path, record(3))
    assert good_records(path) == [record(1), record(3)]


def test_a_whole_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(record(1).line())
    append_record(path, record(2))
    assert good_records(path) == [record(1), record(2)]


def test_half_a_line_is_cut_off_however_long_it_is(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(record(1).line() + '\n{"half": "' + "x" * 3 * record_file.MOST_LINE_BYTES)
    append_record(path, record(2))
    assert path.read_text() == f"{record(1).line()}\n{record(2).line()}\n"


def test_a_file_of_something_else_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("what I did\nand why")
    with pytest.raises(OutputError, match="its last line, b'and why', is half of something else"):
        append_record(path, record(1))
    assert path.read_text() == "what I did\nand why"
    assert len(read_records(path).faults) == 2


BAD = {
    "half a character": record(1).line().replace("avx2", r"\ud800"),
    "true for a number": record(1).line().replace('"trials":3', '"trials":true'),
    "a word for a number": record(1).line().replace("10.0", '"10.0"'),
    "1e400": record(1).line().replace("10.0", "1e400"),
    "digits": record(1).line().replace("10.0", "1" * 5000),
    "a field twice": record(1).line().replace('"trials"', '"trials":1,"trials"'),
    "no JSON": "{",
    "no record": "{}",
    "a list": "[]",
    "NaN": record(1).line().replace("10.0", "NaN"),
    "no time": record(1).line().replace("10.0", "-1.0"),
    "an unknown field": record(1).line().replace('"trials"', '"tirals"'),
    "no bytes of text": "\udcff",
    "deep": "[" * 100_000,
    "long": record(1).line() + " " * record_file.MOST_LINE_BYTES,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named_by_its_number(name: str) -> None:
    lines = f"{record(1).line()}\n\n{BAD[name]}\n{record(2).line()}\n"
    contents = parse_records(lines.encode(errors="surrogateescape"), "mine.jsonl")
    assert contents.records == [record(1), record(2)]
    (fault,) = contents.faults
    assert fault.startswith("mine.jsonl:3: ")


def test_a_compilation_refuses_a_file_with_bad_lines_and_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("{}\n" * 9)
    with pytest.raises(RecordsError, match=r"mine\.jsonl:1: (.|\n)*and 4 more") as caught:
        open_records([], path)
    assert f"mdc records prune {path}" in str(caught.value)


def test_a_huge_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine.jsonl"
    write_records(path, [record(1)])
    monkeypatch.setattr(record_file, "MOST_BYTES", 10)
    with pytest.raises(RecordsError, match="at most 10 are read"):
        read_records(path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    assert open_records([], path).find(job(1).key, MACHINE) is None
    for size in (1, 2):
        append_record(path, record(size))
        assert open_records([], path).find(job(size).key, MACHINE) is not None


@pytest.mark.parametrize(
    ("records", "cache", "expected"),
    [
        ("", "", "home/.cache/mdcompiler/records.jsonl"),
        ("", "here", "here/records.jsonl"),
        ("", "off", None),
        ("off", "here", None),
        ("mine.jsonl", "off", "mine.jsonl"),
    ],
)
def test_where_the_users_records_are(
    records: str, cache: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "home")
    monkeypatch.setenv("MDC_RECORDS", records)
    monkeypatch.setenv("MDC_CACHE", cache)
    assert user_file() == (None if expected is None else Path(expected))


whole = st.integers(1, 512)
pairs = st.tuples(whole, whole)
convolutions = st.builds(
    Convolution,
    geometry=st.builds(Geometry, pairs, pairs, pairs, pairs, pairs, dilation=pairs),
    in_channels=whole,
    out_channels=whole,
    lanes=st.sampled_from([4, 8, 16]),
    activation=st.builds(Curve, st.sampled_from(["none", "clip"]), high=st.sampled_from([6.0, math.inf, 1 / 3])),
    residual=st.sampled_from(["none", "before"]),
)


@given(convolutions, convolutions)
def test_workloads_are_told_apart_and_come_back_from_json(work: Convolution, other: Convolution) -> None:
    text = canonical(plain(work))
    assert (text == canonical(plain(other))) == (work == other)
    assert restored(Convolution, json.loads(text)) == work


def test_a_field_at_its_default_is_left_out_of_the_workload() -> None:
    work = Convolution(Geometry((4, 4), (1, 1), (1, 1), (0, 0), (4, 4)), 8, 8, 8)
    assert set(plain(work)) == {"geometry", "in_channels", "out_channels", "lanes"}


def test_json_that_is_no_workload_is_refused() -> None:
    with pytest.raises(ValueError, match="no Geometry"):
        restored(Convolution, {"geometry": 3})

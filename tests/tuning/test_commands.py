"""`mdc tune` and `mdc records` from end to end, on a network of two kernels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from mdcompiler.tuning.record_file import append_record, good_records, write_records
from tests.conftest import Mdc
from tests.graphs import Sketch
from tests.tuning.sessions import record


@pytest.fixture(autouse=True)
def _no_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_RECORDS", "off")


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sketch = Sketch()
    image = sketch.input("image", [1, 16, 9, 9])
    deep = sketch.conv("stage/a/one", image, (16, 32), kernel=3, strides=[2, 2])
    path = tmp_path_factory.mktemp("tuned") / "small.onnx"
    onnx.save(sketch.model(sketch.conv("stage/b/two", deep, (32, 48))), path)
    return path


def test_a_network_is_tuned_and_the_second_time_there_is_nothing_to_do(mdc: Mdc, network: Path, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    code, out, err = mdc("tune", network, "--trials", 3, "--records", file)
    assert code == 0, err
    assert "mdc: workloads: 2 tuned; records in" in err
    assert all(block in out for block in ("stage/a", "stage/b", "all"))
    records = good_records(file)
    assert [(item.template, item.network, len(item.measured)) for item in records] == [("convolution", "small", 3)] * 2
    for item in records:
        assert item.min_ns == min(tried.min_ns for tried in item.measured if tried.min_ns)
    code, out, err = mdc("tune", network, "--trials", 3, "--records", file, "--json")
    assert "mdc: workloads: 2 recorded" in err
    assert len(good_records(file)) == 2
    rows = json.loads(out)["blocks"]
    assert [(row["block"], row["tuned"], row["kernels"]) for row in rows] == [("stage/a", 0, 1), ("stage/b", 0, 1)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--precision", "fp16"), "there is fp32, int8"),
        (("--rpc", "127.0.0.1"), "give both"),
        (("--target", "null"), "has nothing to tune"),
        ((), "so there is no file of records"),
    ],
)
def test_what_cannot_be_tuned_is_refused_with_a_reason(
    arguments: tuple[str, ...], message: str, mdc: Mdc, network: Path, tmp_path: Path
) -> None:
    given = (*arguments, "--records", tmp_path / "records.jsonl") if arguments else ()
    code, _, err = mdc("tune", network, *given)
    assert code == 1
    assert message in err


def test_records_are_listed_the_slowest_first(mdc: Mdc, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    write_records(file, [record(1), record(2, min_ns=99.0)])
    code, out, _ = mdc("records", "list", file, "--json")
    assert code == 0
    assert [item["workload"]["size"] for item in json.loads(out)] == [2, 1]
    assert "size=2" in mdc("records", "list", file)[1]
    assert json.loads(mdc("records", "list", file, "--target", "x86-64-v2", "--json")[1]) == []


def test_files_are_merged_to_the_best_of_each(mdc: Mdc, tmp_path: Path) -> None:
    first, second, out = (tmp_path / f"{name}.jsonl" for name in ("first", "second", "out"))
    write_records(first, [record(1, 1), record(2, 1)])
    write_records(second, [record(2, 4), record(3, 4)])
    assert mdc("records", "merge", first, second, "-o", out)[0] == 0
    found = {item.workload["size"]: item.schedule["tile"] for item in good_records(out)}
    assert found == {1: 1, 2: 4, 3: 4}


def test_pruning_leaves_out_what_is_bad_outdated_or_superseded(mdc: Mdc, tmp_path: Path) -> None:
    from mdcompiler.backends.kernels.templates import TEMPLATES, tools

    file = tmp_path / "mine.jsonl"
    current: dict[str, Any] = {"template": "window", "version": TEMPLATES["window"].version, "tools": tools()}
    append_record(file, record(1, 1, **current))
    append_record(file, record(1, 4, **current))
    append_record(file, record(2, **{**current, "version": current["version"] + 1}))
    append_record(file, record(3))
    file.write_text(file.read_text() + "nonsense\n")
    assert mdc("records", "list", file)[0] == 1
    code, _, err = mdc("records", "prune", file)
    assert code == 0
    assert f"left out {file}:5: " in err
    assert "kept 1 of 4 records" in err
    assert [item.schedule for item in good_records(file)] == [{"tile": 4}]


def test_exported_records_are_sorted_and_serve_the_target(mdc: Mdc, tmp_path: Path) -> None:
    from mdcompiler.backends.kernels.templates import TEMPLATES, tools

    file, out = tmp_path / "mine.jsonl", tmp_path / "out.jsonl"
    current: dict[str, Any] = {"template": "window", "version": TEMPLATES["window"].version, "tools": tools()}
    write_records(file, [record(size, **current) for size in (2, 1)])
    assert mdc("records", "export", file, "-o", out, "--target", "x86-64-v3")[0] == 0
    assert [item.workload["size"] for item in good_records(out)] == [1, 2]
    assert mdc("records", "export", file, "-o", out, "--target", "x86-64-v4")[0] == 0
    assert good_records(out) == []


def test_without_records_it_says_how_to_make_some(mdc: Mdc) -> None:
    code, _, err = mdc("records", "list")
    assert code == 1
    assert "`mdc tune` makes one" in err

"""Damaged inputs of every kind: done or refused, nothing else. Hours of it by hand: `python -m tests.fuzz mutate`."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from google.protobuf.message import DecodeError

from tests.fuzz.farm import Farm
from tests.fuzz.kinds import all_kinds, cases
from tests.fuzz.mutate_run import Run
from tests.fuzz.shrink import shrink

pytest.importorskip("flatbuffers", reason="the first .tflite files need the extra `edgetpu`")
_SEED = 20261201
_CASES = 500


def test_nothing_breaks() -> None:
    with Farm("mutations", {"seed": _SEED}) as farm:
        found = [(case, outcome) for case, outcome, _ in farm.run_all(cases(list(all_kinds()), _CASES))]
    assert len(found) >= _CASES
    assert {outcome.verdict for _, outcome in found} == {"done", "refused"}, [
        (case, outcome) for case, outcome in found if outcome.failed
    ]


def test_what_is_kept_breaks_nothing(tmp_path: Path) -> None:
    kept = [
        f"{kind.name}={_written(tmp_path / f'{kind.name}-{at}', data)}"
        for kind in all_kinds().values()
        for at, data in enumerate(kind.kept)
    ]
    assert kept
    with Farm("mutations", {"seed": 0}) as farm:
        assert [(case, outcome) for case, outcome, _ in farm.run_all(kept) if outcome.failed] == []


def test_a_number_makes_one_case() -> None:
    for kind in all_kinds().values():
        cases_of_seed_0 = [kind.case(0, number) for number in range(4)]
        assert cases_of_seed_0 == [kind.case(0, number) for number in range(4)]
        assert cases_of_seed_0 != [kind.case(1, number) for number in range(4)]
        assert len(set(cases_of_seed_0)) > 1


def test_every_way_to_fail_is_seen() -> None:
    verdicts = {
        "fine": "done",
        "refuse": "refused",
        "internal": "internal",
        "foreign": "foreign",
        "grow": "memory",
        "abort": "signal",
    }
    with Farm("faulty", {}) as farm:
        found = {name: farm.run(name) for name in verdicts}
        assert farm.run("fine").verdict == "done"
    assert {name: outcome.verdict for name, outcome in found.items()} == verdicts
    assert "SIGABRT" in found["abort"].text
    assert "faulty.py" in found["abort"].text
    with Farm("faulty", {}, seconds=2) as farm:
        assert [farm.run(name).verdict for name in ("sleep", "fine")] == ["hang", "done"]


def test_a_model_shrinks_to_what_fails() -> None:
    data = all_kinds()["onnx-graph"].seeds()[0]

    def fails(smaller: bytes) -> bool:
        try:
            model = onnx.ModelProto.FromString(smaller)
        except DecodeError:
            return False
        return any(node.op_type == "Gemm" for node in model.graph.node)

    left = onnx.ModelProto.FromString(shrink(data, ".onnx", fails))
    assert [node.op_type for node in left.graph.node] == ["Gemm"]
    assert not left.graph.initializer


def test_a_tree_shrinks_to_what_fails() -> None:
    data = json.dumps({"a": [1, 2, {"b": 3, "c": 4}], "d": 5}).encode()

    def fails(smaller: bytes) -> bool:
        try:
            return "c" in json.loads(smaller)["a"][-1]
        except (ValueError, LookupError, TypeError):
            return False

    assert json.loads(shrink(data, ".json", fails)) == {"a": [{"c": 4}]}


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    for target in (7, 12):
        Run(3, state, None, None).go(["table"], lambda progress, target=target: progress.cases >= target)  # type: ignore[misc]
    assert json.loads(state.read_text())["done"] == {"table": 12}


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path

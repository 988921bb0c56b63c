"""Drawn inputs stay where operators are defined, look like pictures, and are the same everywhere."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import mdcompiler
from mdcompiler.errors import InputError
from mdcompiler.manifest import TensorSpec
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.sampling import sample_inputs, seeded_inputs
from mdcompiler.target import find_target
from tests.onnx_models import chain, one_node

INT64 = onnx.TensorProto.INT64
DATA = {"d": np.arange(12, dtype=np.float32).reshape(4, 3)}


@pytest.mark.parametrize(
    ("nodes", "low", "high"),
    [
        ([helper.make_node("Gather", ["d", "x"], ["y"])], -4, 3),
        ([helper.make_node("Gather", ["d", "x"], ["y"], axis=1)], -3, 2),
        ([helper.make_node("Reshape", ["x", "s"], ["r"]), helper.make_node("Gather", ["d", "r"], ["y"])], -4, 3),
        (
            [
                helper.make_node("Equal", ["x", "s"], ["m"]),
                helper.make_node("Where", ["m", "s", "x"], ["r"]),
                helper.make_node("Gather", ["d", "r"], ["y"]),
            ],
            -4,
            3,
        ),
        (
            [
                helper.make_node("Gather", ["d", "x"], ["a"]),
                helper.make_node("Gather", ["d", "x"], ["b"], axis=1),
                helper.make_node("ReduceSum", ["a"], ["c"], keepdims=0),
                helper.make_node("Add", ["b", "c"], ["y"]),
            ],
            -3,
            2,
        ),
    ],
)
def test_indices_stay_on_their_axis(nodes: list[onnx.NodeProto], low: int, high: int) -> None:
    model = chain(nodes, {"x": (6, 50)}, {**DATA, "s": np.array([300], np.int64)}, dtype=INT64)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for seed in range(3):
        drawn = sample_inputs(module_from_model(model, find_target("null")), seed)["x"]
        assert (int(drawn.min()), int(drawn.max())) == (low, high)


def test_a_gather_compiles_and_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "gather.onnx"
    path.write_bytes(one_node("Gather", ["d", "x"], {"x": (5,)}, DATA, dtype=INT64).SerializeToString())
    artifact = mdcompiler.compile(path, "null")
    assert not artifact.manifest.check
    assert (artifact.manifest.inputs[0].low, artifact.manifest.inputs[0].high) == (-4, 3)


def test_logarithms_get_what_they_are_defined_for() -> None:
    module = module_from_model(one_node("Log", ["x"], {"x": (40,)}, {}), find_target("null"))
    assert sample_inputs(module)["x"].min() > 0


@pytest.mark.parametrize("shape", [(1, 3, 40, 50), (1, 40, 50, 3), (1, 40, 50)])
def test_pictures_are_smooth_and_span_their_range(shape: tuple[int, ...]) -> None:
    drawn = seeded_inputs([TensorSpec(name="x", shape=shape, dtype="float32")], 0)["x"]
    rows = 1 if shape[-1] == 3 or len(shape) == 3 else 2
    step = float(np.abs(np.diff(drawn, axis=rows)).mean())
    assert np.ptp(drawn) > 1.5
    assert step < 0.5 * float(drawn.std()), "neighbours are alike"
    noise = seeded_inputs([TensorSpec(name="x", shape=shape, dtype="float32")], 1)["x"]
    assert float(np.abs(np.diff(noise, axis=rows)).mean()) > 0.9 * float(noise.std())


def test_every_machine_draws_the_same_bytes() -> None:
    spec = TensorSpec(name="x", shape=(1, 33, 47, 3), dtype="uint8")
    digests = [hashlib.sha256(seeded_inputs([spec], seed)["x"].tobytes()).hexdigest()[:12] for seed in (0, 1)]
    assert digests == ["87f3aa958497", "1a368e35f0c4"]


def given_model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(one_node("Relu", ["x"], {"x": (1, 8)}, {}).SerializeToString())
    return path


def test_inputs_that_a_user_gives_are_the_ones_that_are_checked(tmp_path: Path) -> None:
    from mdcompiler.self_check import read_check

    x = np.linspace(-5, 5, 8, dtype=np.float32).reshape(1, 8)
    np.savez(tmp_path / "x.npz", x=x)
    for given in (tmp_path / "x.npz", {"x": x}):
        artifact = mdcompiler.compile(given_model(tmp_path), "null", check_input=given)
        check = read_check(artifact)
        np.testing.assert_array_equal(check.inputs[0]["x"], x)
        np.testing.assert_array_equal(check.expected[0]["y"], np.maximum(x, 0))


@pytest.mark.parametrize(
    ("given", "words"),
    [({"x": np.zeros((1, 7), np.float32)}, "'x' is float32"), ({"z": np.zeros(1)}, "'x' is missing")],
)
def test_inputs_that_do_not_fit_are_refused(given: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        mdcompiler.compile(given_model(tmp_path), "null", check_input=given)

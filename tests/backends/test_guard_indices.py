"""Indices of run time stay within their tensor, whatever they are; in range they mean what ONNX says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mdcompiler.backends.legalize.guard_indices import guard_indices

DATA = np.arange(24, dtype=np.float32).reshape(4, 3, 2)
# operator: attributes, shape of the indices, shape of the updates, extents that the last axis of the indices selects
CASES: dict[str, tuple[dict[str, Any], list[int], list[int] | None, list[int]]] = {
    "Gather": ({"axis": 1}, [5], None, [3]),
    "GatherElements": ({"axis": -3}, [2, 3, 2], None, [4]),
    "GatherND": ({}, [6, 2], None, [4, 3]),
    "ScatterElements": ({"axis": 2}, [1, 1, 2], [1, 1, 2], [2]),
    "ScatterND": ({}, [1, 3], [1], [4, 3, 2]),
}


def _network(op: str, indices: NDArray[Any] | None = None) -> onnx.ModelProto:
    attributes, shape, updates, _ = CASES[op]
    inputs = [
        helper.make_tensor_value_info("d", TensorProto.FLOAT, list(DATA.shape)),
        helper.make_tensor_value_info("i", TensorProto.INT64, shape),
    ]
    if updates is not None:
        inputs.append(helper.make_tensor_value_info("u", TensorProto.FLOAT, updates))
    names = [value.name for value in inputs]
    weights = [] if indices is None else [numpy_helper.from_array(indices, "i")]
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)],
        "g",
        [value for value in inputs if value.name != "i" or indices is None],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def _run(network: onnx.ModelProto, indices: NDArray[Any]) -> NDArray[Any]:
    feeds: dict[str, NDArray[Any]] = {"d": DATA, "i": indices}
    updates = CASES[network.graph.node[-1].op_type][2]
    if updates is not None:
        feeds["u"] = np.full(updates, -7, np.float32)
    (result,) = ReferenceEvaluator(network).run(None, feeds)
    return np.asarray(result)


def _index(network: onnx.ModelProto, indices: NDArray[Any]) -> NDArray[Any]:
    """What the operator itself gets as its indices."""
    (node,) = (node for node in network.graph.node if node.op_type in CASES)
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_tensor_value_info(node.input[1], TensorProto.INT64, None))
    del copy.graph.node[[item.op_type for item in copy.graph.node].index(node.op_type) :]
    (result,) = ReferenceEvaluator(copy).run(None, {"d": DATA, "i": indices})
    return np.asarray(result)


@pytest.mark.parametrize("op", CASES)
def test_in_range_nothing_changes(op: str) -> None:
    _, shape, _, extents = CASES[op]
    indices = np.random.default_rng(0).integers(-np.array(extents), extents, shape)
    plain, guarded = _network(op), _network(op)
    guard_indices(guarded)
    assert len(guarded.graph.node) > 1
    np.testing.assert_array_equal(_run(guarded, indices), _run(plain, indices))
    np.testing.assert_array_equal(_index(guarded, indices), indices % np.array(extents))


@pytest.mark.parametrize("op", CASES)
def test_no_number_leaves_the_tensor(op: str) -> None:
    _, shape, _, extents = CASES[op]
    guarded = _network(op)
    guard_indices(guarded)
    for number, at_end in ((99, True), (2**63 - 1, True), (-(2**63), False), (-99, False)):
        found = _index(guarded, np.full(shape, number, np.int64))
        want = np.array(extents) - 1 if at_end else np.zeros(len(extents))
        np.testing.assert_array_equal(found, np.broadcast_to(want, shape))


def test_constant_indices_within_bounds_stay() -> None:
    for values, stays in (([0, 2, -3, -1, 1], True), ([0, 3, 0, 0, 0], False), ([-4, 0, 0, 0, 0], False)):
        network = _network("Gather", np.array(values))
        guard_indices(network)
        assert (len(network.graph.node) == 1) is stays

"""Integer division on its traps: by 0, and the smallest number by -1."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from mdcompiler.backends.legalize.guard_division import guard_divisions


def _network(op: str, dtype: np.dtype[Any], divisor: NDArray[Any] | None = None) -> onnx.ModelProto:
    element = helper.np_dtype_to_tensor_dtype(dtype)
    ends = [helper.make_tensor_value_info(name, element, [6]) for name in ("a", "b", "y")]
    weights = [] if divisor is None else [numpy_helper.from_array(divisor, "b")]
    graph = helper.make_graph(
        [helper.make_node(op, ["a", "b"], ["y"])], "g", ends[:1] if weights else ends[:2], ends[2:], weights
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_no_divisor_is_a_trap_and_the_numbers_stay(op: str, dtype: str) -> None:
    kind: np.dtype[Any] = np.dtype(dtype)
    smallest, most = np.iinfo(kind).min, np.iinfo(kind).max
    a = np.array([7, 9, smallest, smallest, most, 5], kind)
    b = np.array([2, 0, most if kind.kind == "u" else -1, 3, 1, 0], kind)
    network = _network(op, kind)
    with np.errstate(all="ignore"):
        want = _run(network, a, b)
        guard_divisions(network)
        got = _run(network, a, b)
    np.testing.assert_array_equal(got, want)
    inner = next(node for node in network.graph.node if node.op_type == op)
    divisor = _run(_with_output(network, inner.input[1], kind), a, b)
    assert not (divisor == 0).any()
    assert kind.kind == "u" or not (divisor == -1).any()


def _run(network: onnx.ModelProto, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    (result,) = ReferenceEvaluator(network).run(None, {"a": a, "b": b})
    return np.asarray(result)


def _with_output(network: onnx.ModelProto, name: str, kind: np.dtype[Any]) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(network)
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind), [6]))
    return copy


def test_a_divisor_that_is_no_trap_stays() -> None:
    for divisor, nodes in (([1, 2, 3, 4, 5, 6], 1), ([1, 2, 3, 4, 5, 0], 2)):
        network = _network("Div", np.dtype("int32"), np.array(divisor, np.int32))
        guard_divisions(network)
        assert (len(network.graph.node) == 1) == (nodes == 1)
    floats = _network("Div", np.dtype("float32"))
    guard_divisions(floats)
    assert len(floats.graph.node) == 1

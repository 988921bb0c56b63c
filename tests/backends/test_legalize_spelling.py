"""How kernels are spelled before TVM reads them: no index outside of its tensor, no digits lost."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from mdcompiler.backends.legalize.guard_indices import guard_indices
from mdcompiler.backends.legalize.stable_curves import spell_curves
from mdcompiler.backends.legalize.widen_sums import widen_sums

CURVES: dict[str, Any] = {
    "Asinh": np.arcsinh,
    "Atanh": np.arctanh,
    "Mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "Softplus": lambda x: np.logaddexp(0, x),
}
_EPSILONS = 8


def _model(op: str, count: int, outputs: list[int], inputs: int = 1, **attributes: Any) -> onnx.ModelProto:
    kinds = (TensorProto.FLOAT, TensorProto.INT64)
    values = [helper.make_tensor_value_info(f"x{at}", kinds[at], [count]) for at in range(inputs)]
    graph = helper.make_graph(
        [helper.make_node(op, [value.name for value in values], ["y"], **attributes)],
        "g",
        values,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def _compiled(model: onnx.ModelProto, outputs: list[int], *arrays: NDArray[Any]) -> NDArray[Any]:
    """What TVM makes of `model`."""
    from mdcompiler.backends.legalize.lower_relax import lower
    from mdcompiler.backends.legalize.self_check import run_lowered

    feeds = {f"x{at}": array for at, array in enumerate(arrays)}
    return run_lowered(lower(model, "k", {"kind": "llvm"}), feeds, {"y": np.empty(outputs, np.float32)})["y"]


@pytest.mark.parametrize("op", CURVES)
def test_a_curve_keeps_its_digits(op: str) -> None:
    x = np.concatenate([np.linspace(-80, 80, 4001), np.geomspace(1e-30, 1, 999), -np.geomspace(1e-30, 1, 999)])
    x = (x[np.abs(x) < 1] if op == "Atanh" else x).astype(np.float32)
    x = x[x != 0]
    model = _model(op, x.size, [x.size])
    spell_curves(model)
    got, want = _compiled(model, [x.size], x).astype(np.float64), CURVES[op](x.astype(np.float64))
    assert (np.abs(got - want) / np.abs(want)).max() < _EPSILONS * np.finfo(np.float32).eps


@pytest.mark.parametrize("op", CURVES)
def test_a_curve_at_its_ends(op: str) -> None:
    ends = [0, -1, 1, np.nan] if op == "Atanh" else [0, 1e38, np.inf, np.nan]
    x = np.array(ends, np.float32)
    model = _model(op, x.size, [x.size])
    spell_curves(model)
    with np.errstate(all="ignore"):
        want = CURVES[op](x.astype(np.float64))
    np.testing.assert_allclose(_compiled(model, [x.size], x), want, rtol=1e-6)


def test_a_long_sum_keeps_its_digits() -> None:
    x = np.random.default_rng(0).uniform(0, 1, 100_000).astype(np.float32)
    for op, want in (("ReduceSum", x.sum(dtype=np.float64)), ("ReduceMean", x.mean(dtype=np.float64))):
        model = _model(op, x.size, [1])
        widen_sums(model)
        assert abs(_compiled(model, [1], x)[0] - want) <= want * np.finfo(np.float32).eps
    short = _model("ReduceSum", 8, [1])
    widen_sums(short)
    assert [node.op_type for node in short.graph.node] == ["ReduceSum"]


def test_compiled_code_reads_nothing_outside() -> None:
    data = np.arange(6, dtype=np.float32)
    indices = np.array([0, -1, 6, 2**40, -7, -(2**40)])
    model = _model("GatherElements", 6, [6], inputs=2)
    guard_indices(model)
    np.testing.assert_array_equal(_compiled(model, [6], data, indices), [0, 5, 5, 5, 0, 0])

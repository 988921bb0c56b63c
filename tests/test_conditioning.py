"""Ill-conditioned networks are right, and a wrong library stays wrong on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

import mdcompiler
from mdcompiler.arbiter import check_of
from mdcompiler.backends.null import NullBackend
from mdcompiler.conditioning import widened_check
from mdcompiler.errors import InternalError
from mdcompiler.exact import ExactNetwork, RoundedNetwork
from mdcompiler.module import Module
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.target import find_target
from tests.onnx_models import chain

Arrays = dict[str, NDArray[Any]]


def cancelling_sums(offset: float = 300.0, channels: int = 8) -> onnx.ModelProto:
    """Two sums of `offset` and a little; what is left of them in float32 depends on where a sum begins."""
    w = np.random.default_rng(4).standard_normal((channels, channels, 3, 3)).astype(np.float32)
    constants = {"w": w, "v": (w * np.float32(1 + 1e-3)).astype(np.float32), "offset": np.array(offset, np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Add", ["a", "offset"], ["a300"]),
        helper.make_node("Conv", ["x", "v"], ["b"], pads=[1] * 4),
        helper.make_node("Add", ["b", "offset"], ["b300"]),
        helper.make_node("Sub", ["a300", "b300"], ["y"]),
    ]
    return chain(nodes, {"x": (1, channels, 24, 24)}, constants)


def steps(kind: str) -> onnx.ModelProto:
    """A convolution whose results end between two integers, or beside each other, now and then."""
    random = np.random.default_rng(2)
    constants = {"w": random.standard_normal((21, 3, 3, 3)).astype(np.float32), "k": np.array(2000, np.float32)}
    ends = {
        "floor": [helper.make_node("Floor", ["b"], ["y"])],
        "cast": [helper.make_node("Cast", ["b"], ["y"], to=TensorProto.INT32)],
    }
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"]), helper.make_node("Mul", ["a", "k"], ["b"]), *ends[kind]]
    model = chain(nodes, {"x": (1, 3, 18, 18)}, constants)
    if kind == "cast":
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT32
    return model


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_sums_that_begin_at_a_large_bias_are_right(tmp_path: Path) -> None:
    artifact = mdcompiler.compile(saved(cancelling_sums(), tmp_path), "cpu", threads=1)
    assert not artifact.manifest.check
    assert artifact.manifest.facts["ill_conditioned"] is True


@pytest.mark.parametrize("kind", ["floor", "cast"])
def test_what_float32_does_not_settle_is_left_out(tmp_path: Path, kind: str) -> None:
    artifact = mdcompiler.compile(saved(steps(kind), tmp_path), "cpu", threads=1)
    assert not artifact.manifest.check


def widened(model: onnx.ModelProto) -> Any:
    module = module_from_model(model, find_target("null"))
    check = widened_check(check_of(module), module)
    assert check is not None
    return check


def test_the_orders_of_a_sum_differ_as_kernels_do() -> None:
    allowed = widened(folded()).allowed["y"]
    assert 2e-4 < allowed.float32 < 1e-3


def folded() -> onnx.ModelProto:
    """`cancelling_sums` as the passes make it."""
    model = cancelling_sums()
    nodes = [node for node in model.graph.node if node.op_type != "Add"]
    offset = onnx.numpy_helper.from_array(np.full(8, 300, np.float32), "bias")
    model.graph.initializer.append(offset)
    for node in nodes:
        if node.op_type == "Conv":
            node.input.append("bias")
    nodes[-1].input[:] = ["a", "b"]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def test_few_values_are_undecided_and_one_wrong_number_is_enough() -> None:
    check = widened(steps("cast"))
    masks = [mask for item in check.undecided for mask in item.values()]
    assert masks
    assert 0 < np.mean(masks) < 0.05
    right = [{name: want.copy() for name, want in expected.items()} for expected in check.expected]
    assert all(check.faults_of(index, got) == [] for index, got in enumerate(right))
    mask = check.undecided[0]["y"]
    undecided, decided = np.argwhere(mask)[0], np.argwhere(~mask)[0]
    right[0]["y"][tuple(undecided)] += 1
    assert check.faults_of(0, right[0]) == []
    right[0]["y"][tuple(decided)] += 1
    assert check.faults_of(0, right[0])


def test_a_widened_check_survives_its_file(tmp_path: Path) -> None:
    from mdcompiler.backend import input_specs
    from mdcompiler.build_manifest import tensor_specs
    from mdcompiler.self_check import Check

    check = widened(steps("cast"))
    specs = tensor_specs(input_specs(module_from_model(steps("cast"), find_target("null"))))
    again = Check.from_bytes(check.to_bytes(), specs, ["y"])
    assert again.to_bytes() == check.to_bytes()
    np.testing.assert_array_equal(again.undecided[0]["y"], check.undecided[0]["y"])


@pytest.mark.parametrize("model", [cancelling_sums(), steps("floor"), steps("cast")], ids=["sums", "floor", "cast"])
def test_a_lost_bias_or_a_swapped_tap_is_still_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: onnx.ModelProto
) -> None:
    emit = NullBackend.emit

    def wrong(self: NullBackend, module: Module, *rest: Any) -> Any:
        other = Module.from_onnx(module.to_onnx(), module.target)
        weights = next(node.inputs[1] for node in other.graph.nodes if node.op == "Conv")
        changed = weights.values.copy()
        changed[0, 0, 0, :2] = changed[0, 0, 0, 1::-1]
        weights.values = changed
        return emit(self, other, *rest)

    monkeypatch.setattr(NullBackend, "emit", wrong)
    with pytest.raises(InternalError, match="does not do what its source says"):
        mdcompiler.compile(saved(model, tmp_path), "null")


@pytest.mark.parametrize("op", ["Conv", "Gemm", "MatMul", "GlobalAveragePool"])
def test_sums_one_by_one_are_the_operator(op: str) -> None:
    random = np.random.default_rng(1)

    def values(*shape: int) -> NDArray[np.float32]:
        return random.standard_normal(shape).astype(np.float32)

    shapes: dict[str, tuple[tuple[int, ...], Arrays, dict[str, Any]]] = {
        "Conv": ((2, 6, 9, 8), {"w": values(4, 3, 3, 2), "b": values(4)}, {"group": 2, "strides": [2, 1]}),
        "Gemm": ((5, 7), {"w": values(4, 5), "b": values(1, 4)}, {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}),
        "MatMul": ((2, 3, 5, 7), {"w": values(3, 7, 4)}, {}),
        "GlobalAveragePool": ((2, 3, 9, 8), {}, {}),
    }
    shape, constants, attributes = shapes[op]
    model = chain([helper.make_node(op, ["x", *constants], ["y"], **attributes)], {"x": shape}, constants)
    x = values(*shape)
    want = ExactNetwork(model).run({"x": x})["y"]
    for backward in (False, True):
        got = RoundedNetwork(model, backward).run({"x": x})["y"]
        assert 0 < np.abs(got - want).max() < 1e-5

"""A convolution, quantized, with a clamp behind it: what HTP's compiler is tempted with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mdcompiler.kernel import KERNEL, KIND
from mdcompiler.module import Module
from mdcompiler.quantization.scheme import SCHEME_KEY
from mdcompiler.target import find_target

Array = NDArray[Any]
Affine = tuple[float, int]
INPUT: Affine = (4 / 255, 100)
SHAPE = (1, 8, 10, 10)


@dataclass(frozen=True)
class Clamped:
    """Conv, `op` with `constants`, Q. between: whether Q and DQ stand before `op`; then `inner` is their scale."""

    op: str
    constants: tuple[float, ...]
    outer: Affine
    inner: Affine | None = None
    between: bool = False
    leader: str = "Conv"

    def module(self) -> Module:
        """As insert-qdq leaves it: one kernel."""
        module = Module.from_onnx(self.model(), find_target("hexagon-htp"))
        for node in module.graph.nodes:
            node.attrs |= {KERNEL: "layer", KIND: "conv" if self.leader == "Conv" else "add"}
        module.metadata[SCHEME_KEY] = "hexagon-htp"
        return module

    def model(self) -> onnx.ModelProto:
        """The same in plain ONNX."""
        nodes, constants = self._leader()
        source = "real"
        if self.between:
            constants |= _affine("inner", self.inner or self.outer)
            nodes += [_q("real", "inner", "middle"), _dq("middle", "inner", "middle_real")]
            source = "middle_real"
        names = [f"bound{index}" for index in range(len(self.constants))]
        constants |= {name: np.array(value, np.float32) for name, value in zip(names, self.constants, strict=True)}
        constants |= _affine("outer", self.outer)
        if self.op:
            nodes.append(helper.make_node(self.op, [source, *names], ["clamped"], name="clamp"))
            source = "clamped"
        nodes.append(_q(source, "outer", "y"))
        return _model(nodes, constants, 16 if self.leader == "Conv" else SHAPE[1])

    def _leader(self) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
        constants = _affine("input", INPUT)
        if self.leader == "Add":
            nodes = [_dq("x", "input", "x_real"), _dq("x", "input", "x_again")]
            return [*nodes, helper.make_node("Add", ["x_real", "x_again"], ["real"], name="add")], constants
        generator = np.random.default_rng(0)
        constants["weight"] = np.clip(generator.normal(0, 40, (16, 8, 3, 3)), -127, 127).astype(np.int8)
        constants["bias"] = generator.integers(-3000, 3000, 16).astype(np.int32)
        constants |= _affine("weights", (0.01, 0), np.int8)
        constants |= _affine("biases", (float(np.float32(INPUT[0]) * np.float32(0.01)), 0), np.int32)
        nodes = [_dq("x", "input", "x_real"), _dq("weight", "weights", "w_real"), _dq("bias", "biases", "b_real")]
        conv = helper.make_node("Conv", ["x_real", "w_real", "b_real"], ["real"], name="conv", pads=[1] * 4)
        return [*nodes, conv], constants


def image(seed: int = 0) -> dict[str, Array]:
    """An input."""
    return {"x": np.random.default_rng(seed).integers(0, 256, SHAPE, dtype=np.uint8)}


def _affine(name: str, affine: Affine, dtype: Any = np.uint8) -> dict[str, Array]:
    return {f"{name}_scale": np.array(affine[0], np.float32), f"{name}_zero": np.array(affine[1], dtype)}


def _q(source: str, affine: str, made: str) -> onnx.NodeProto:
    return helper.make_node("QuantizeLinear", [source, f"{affine}_scale", f"{affine}_zero"], [made], name=f"q_{made}")


def _dq(source: str, affine: str, made: str) -> onnx.NodeProto:
    inputs = [source, f"{affine}_scale", f"{affine}_zero"]
    return helper.make_node("DequantizeLinear", inputs, [made], name=f"dq_{made}")


def _model(nodes: list[onnx.NodeProto], constants: dict[str, Array], channels: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "clamped",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, (1, channels, *SHAPE[2:]))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model, strict_mode=True)

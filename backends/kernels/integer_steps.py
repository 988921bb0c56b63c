"""The integer operations of a quantized kernel, read off its nodes.

Inside a kernel every integer operation stands between DequantizeLinear and QuantizeLinear nodes
(`mdcompiler.passes.insert_qdq`):

    DQ x, DQ weight, DQ bias -> Conv -> Q -> DQ -> HardSwish -> Q      conv, table
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.activation import Activation, activation_after, single_activation
from mdcompiler.backends.kernels.read_kernel import NoTemplate
from mdcompiler.constants import constant, optional_input
from mdcompiler.kernel import Kernel
from mdcompiler.module import producer
from mdcompiler.quantization.affine import bounds, clamp_integers
from mdcompiler.weights.quantization import Quantization

Array = NDArray[Any]
Operation = Literal["conv", "table", "add", "pool", "product", "move", "concat", "requantize"]
_OPERATIONS: dict[str, Operation] = {
    "Conv": "conv",
    "Add": "add",
    "GlobalAveragePool": "pool",
    "Concat": "concat",
    "DequantizeLinear": "requantize",
    **dict.fromkeys(("Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"), "move"),
}
_CLAMPS = ("Clip", "Relu", "Min", "Max")


@dataclass(frozen=True)
class IntegerTensor:
    """An integer tensor of the graph and what its integers mean."""

    name: str
    quantization: Quantization

    @property
    def zero_point(self) -> int:
        return self.quantization.zero_point[0]

    @property
    def scale(self) -> float:
        return self.quantization.scale[0]


@dataclass(frozen=True)
class IntegerStep:
    """One integer operation. node: the float node that says what is done; low, high: integers of the clamp."""

    operation: Operation
    node: gs.Node
    inputs: tuple[IntegerTensor, ...]
    output: IntegerTensor
    low: int
    high: int
    activation: Activation | None = None


def is_integer(kernel: Kernel) -> bool:
    """Whether the kernel computes in integers: kernels that only convert do not."""
    return kernel.kind not in ("quantize", "dequantize") and kernel.find("QuantizeLinear") is not None


def integer_steps(kernel: Kernel) -> list[IntegerStep]:
    """The operations in order. Raises NoTemplate for what has no integer template."""
    return list(_steps(kernel))


def _steps(kernel: Kernel) -> Iterator[IntegerStep]:
    for node in kernel.nodes:
        if node.op == "QuantizeLinear":
            yield _step(node)


def _step(quantize: gs.Node) -> IntegerStep:
    output = IntegerTensor(quantize.outputs[0].name, quantization_of(quantize))
    if output.quantization.dtype != "uint8":
        raise NoTemplate(f"{output.quantization.dtype} activations; the integer templates compute in uint8.")
    main, clamp = _main_and_clamp(producer(quantize.inputs[0]))
    low, high = _bounds(clamp, output.quantization)
    activation = _activation(main)
    operation = "table" if activation else _OPERATIONS.get(main.op)
    if main.op == "Mul" and not activation:
        operation = "product"
    if operation is None:
        raise NoTemplate(f"{main.op} has no integer template.")
    return IntegerStep(operation, main, _inputs(main, operation, activation), output, low, high, activation)


def _main_and_clamp(last: gs.Node | None) -> tuple[gs.Node, gs.Node | None]:
    """The node that does the work, and the clamp after it if there is one."""
    if last is None:
        raise NoTemplate("a constant is quantized at run time.")
    before = producer(last.inputs[0])
    if last.op in _CLAMPS and before is not None and before.op in ("Conv", "Add"):
        return before, last
    return last, None


def _bounds(clamp: gs.Node | None, quantization: Quantization) -> tuple[int, int]:
    if clamp is None:
        return bounds(quantization.dtype)
    values = [constant(tensor) for tensor in clamp.inputs[1:]]
    numbers = [float(value.reshape(())) for value in values if value is not None]
    low, high = -np.inf, np.inf
    if clamp.op == "Relu":
        low = 0.0
    elif clamp.op == "Clip":
        low, high = numbers
    elif clamp.op == "Min":
        high = numbers[0]
    else:
        low = numbers[0]
    return clamp_integers(quantization, low, high)


def _activation(main: gs.Node) -> Activation | None:
    """The function of one number that ends in `main`: one node, or Sigmoid and Mul."""
    if main.op != "Mul":
        return single_activation(main)
    for tensor in main.inputs:
        found = activation_after(tensor)
        if found is not None and found.kind == "swish" and found.nodes[-1] is main:
            return found
    return None


def _inputs(main: gs.Node, operation: Operation, activation: Activation | None) -> tuple[IntegerTensor, ...]:
    if operation == "requantize":
        return (_tensor(main),)
    first = activation.nodes[0] if activation else main
    sources = first.inputs[:1] if operation in ("conv", "table", "move") else first.inputs
    return tuple(_tensor(_dequantize(tensor)) for tensor in sources)


def _dequantize(tensor: gs.Tensor) -> gs.Node:
    node = producer(tensor)
    if node is None or node.op != "DequantizeLinear":
        raise NoTemplate(f"{tensor.name} is a float inside an integer kernel.")
    return node


def _tensor(dequantize: gs.Node) -> IntegerTensor:
    quantization = quantization_of(dequantize)
    if quantization.dtype != "uint8":
        raise NoTemplate(f"{quantization.dtype} activations; the integer templates compute in uint8.")
    return IntegerTensor(dequantize.inputs[0].name, quantization)


def quantization_of(node: gs.Node) -> Quantization:
    """Scales, zero points and type of a QuantizeLinear or DequantizeLinear node."""
    scale = np.atleast_1d(node.inputs[1].values)
    offset = optional_input(node, 2)
    zero = np.zeros(scale.shape, np.uint8) if offset is None else np.atleast_1d(offset.values)
    axis = int(node.attrs.get("axis", 1)) if scale.size > 1 else None
    return Quantization(
        tuple(float(value) for value in scale), tuple(int(value) for value in zero), str(zero.dtype), axis
    )


def conv_constants(conv: gs.Node) -> tuple[Array, Array, Array]:
    """Weights without their zero point [O, C, kh, kw] int16, their scales [O or 1] float64, bias [O] int64."""
    weight_node, bias_node = _dequantize(conv.inputs[1]), _dequantize(conv.inputs[2])
    quantization = quantization_of(weight_node)
    integers, bias = constant(weight_node.inputs[0]), constant(bias_node.inputs[0])
    if integers is None or bias is None:
        raise NoTemplate("weights or bias are computed at run time; templates need constants.")
    zero = np.array(quantization.zero_point, np.int16).reshape(-1, 1, 1, 1)
    return integers.astype(np.int16) - zero, np.array(quantization.scale), bias.astype(np.int64)

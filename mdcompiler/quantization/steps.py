"""Reading a quantized graph: every kernel as a sequence of integer operations.

The integer reference, the backends and `check_quantized` all read the graph here, so that they cannot disagree on
what it means. One QuantizeLinear ends one operation; its operands are the DequantizeLinear nodes behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.activation import Activation, activation_after, single_activation
from mdcompiler.constants import optional_input, scalar
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel, kernel_name
from mdcompiler.module import producer
from mdcompiler.quantization.affine import bounds, clamp_integers
from mdcompiler.quantization.split import MOVES, Operation
from mdcompiler.weights.quantization import Quantization

_MAIN: dict[str, Operation] = {"Conv": "conv", "Add": "add", "GlobalAveragePool": "pool", "Concat": "concat"}
CLAMPS = frozenset({"Clip", "Max", "Min", "Relu"})
"""Operators that keep numbers within bounds; Max and Min with one constant."""
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_WITH_ZERO_POINT = 3


@dataclass(frozen=True)
class Port:
    """An integer tensor of the graph. name: e.g. `C4/b2.ibn/add/q`."""

    name: str
    shape: tuple[int, ...]
    quantization: Quantization

    @property
    def scale(self) -> float:
        return self.quantization.scale[0]

    @property
    def zero_point(self) -> int:
        return self.quantization.zero_point[0]

    @property
    def dtype(self) -> str:
        return self.quantization.dtype

    @property
    def wide(self) -> bool:
        """Whether the integers have 16 bits, so that sums of products need more than 32."""
        return np.dtype(self.dtype).itemsize > 1


@dataclass(frozen=True)
class Weights:
    """Of a convolution. weight: OIHW; bias: int32, one a channel, scale = input scale * weight scale."""

    weight: NDArray[Any]
    quantization: Quantization
    bias: NDArray[np.int32]

    @property
    def centred(self) -> NDArray[np.int64]:
        """The weights minus their zero points, int64."""
        zeros = np.array(self.quantization.zero_point, np.int64)
        return np.asarray(self.weight.astype(np.int64) - zeros.reshape(-1, *[1] * (self.weight.ndim - 1)))


@dataclass(frozen=True)
class Step:
    """One integer operation.

    node: the operator that does the work (None for requantize). low, high: integers the result is clamped to, the
    output type's own bounds where nothing else is said. weights: of a conv. activation: of a table.
    """

    operation: Operation
    name: str
    inputs: tuple[Port, ...]
    output: Port
    low: int
    high: int
    node: gs.Node | None = None
    weights: Weights | None = None
    activation: Activation | None = None

    @property
    def wide(self) -> bool:
        """Whether any operand has 16 bits."""
        return any(port.wide for port in self.inputs)


def is_integer(kernel: Kernel) -> bool:
    """Whether `kernel` computes in integers: it reads and writes them. Borders and float kernels do not."""
    return kernel.kind not in ("quantize", "dequantize") and any(node.op == QUANTIZE for node in kernel.nodes)


def read_steps(kernel: Kernel) -> tuple[Step, ...]:
    """The integer operations of `kernel` in order. Raises UnsupportedError for a group of nodes that is none."""
    return tuple(_step(kernel, node) for node in kernel.nodes if node.op == QUANTIZE)


def _step(kernel: Kernel, quantize: gs.Node) -> Step:
    output = port(quantize, quantize.outputs[0])
    nodes, sources = _between(kernel, quantize)
    least, most = bounds(output.dtype)
    if not nodes:
        inputs = tuple(_operand(kernel, source) for source in sources)
        return Step("requantize", str(quantize.name), inputs, output, least, most)
    main = nodes[0]
    operation = _operation(kernel, nodes)
    low, high = (least, most) if operation == "table" else _clamp(kernel, nodes, output)
    weights = _weights(kernel, main) if operation == "conv" else None
    operands = sources[:1] if operation == "conv" else sources
    return Step(
        operation,
        str(main.name),
        tuple(_operand(kernel, source) for source in operands),
        output,
        low,
        high,
        main,
        weights,
        _activation(nodes) if operation == "table" else None,
    )


def _between(kernel: Kernel, quantize: gs.Node) -> tuple[list[gs.Node], list[gs.Node]]:
    """The float nodes before `quantize` in order, and the DequantizeLinear nodes before those in order of reading."""
    found: dict[int, gs.Node] = {}
    waiting = [producer(quantize.inputs[0])]
    while waiting:
        node = waiting.pop()
        if node is None or kernel_name(node) != kernel.name:
            raise _fault(kernel, quantize, "reads a float number from outside the kernel")
        if node.op != DEQUANTIZE and id(node) not in found:
            found[id(node)] = node
            waiting += [producer(tensor) for tensor in node.inputs if isinstance(tensor, gs.Variable)]
    rank = {id(node): index for index, node in enumerate(kernel.nodes)}
    nodes = sorted(found.values(), key=lambda node: rank[id(node)])
    first = nodes[:1] or [quantize]
    sources = [producer(tensor) for tensor in first[0].inputs if isinstance(tensor, gs.Variable)]
    return nodes, [source for source in sources if source is not None]


def _operation(kernel: Kernel, nodes: list[gs.Node]) -> Operation:
    main = nodes[0]
    if main.op in _MAIN:
        return _MAIN[main.op]
    if _activation(nodes) is not None:
        return "table"
    if main.op == "Mul" and len(nodes) == 1:
        return "product"
    if main.op in MOVES and len(nodes) == 1:
        return "move"
    raise _fault(kernel, main, f"is the operator {main.op}, which has no integer form")


def _activation(nodes: list[gs.Node]) -> Activation | None:
    if len(nodes) == 1:
        return single_activation(nodes[0]) or _bound(nodes[0])
    found = activation_after(nodes[0].inputs[0])
    return found if found is not None and len(found.nodes) == len(nodes) else None


def _bound(node: gs.Node) -> Activation | None:
    """Max or Min with a constant."""
    if node.op not in ("Max", "Min") or all(scalar(tensor) is None for tensor in node.inputs):
        return None
    return Activation("clip", (node,), *clamp_ends(node))


def _clamp(kernel: Kernel, nodes: list[gs.Node], output: Port) -> tuple[int, int]:
    low, high = -np.inf, np.inf
    for node in nodes[1:]:
        if node.op not in CLAMPS or len(nodes) > 2:
            raise _fault(kernel, node, f"({node.op}) stands between {nodes[0].name} and its quantization")
        low, high = clamp_ends(node)
    return clamp_integers(output.quantization, low, high)


def clamp_ends(node: gs.Node) -> tuple[float, float]:
    """The bounds of the clamp `node`, infinite where it has none."""
    if node.op == "Relu":
        return 0.0, np.inf
    if node.op == "Clip":
        found = single_activation(node)
        return (found.low, found.high) if found else (-np.inf, np.inf)
    value = next(value for tensor in node.inputs if (value := scalar(tensor)) is not None)
    return (value, np.inf) if node.op == "Max" else (-np.inf, value)


def _operand(kernel: Kernel, node: gs.Node) -> Port:
    if node.op != DEQUANTIZE:
        raise _fault(kernel, node, "is float where integers are expected")
    return port(node, node.inputs[0])


def _weights(kernel: Kernel, conv: gs.Node) -> Weights:
    weight, bias = (producer(optional_input(conv, index)) for index in (1, 2))
    if weight is None or bias is None or weight.op != DEQUANTIZE or bias.op != DEQUANTIZE:
        raise _fault(kernel, conv, "has weights or a bias that are not quantized")
    return Weights(weight.inputs[0].values, affine(weight), bias.inputs[0].values)


def port(node: gs.Node, tensor: gs.Tensor) -> Port:
    """`tensor`, the integers of the QuantizeLinear or DequantizeLinear `node`."""
    return Port(str(tensor.name), tuple(tensor.shape), affine(node))


def affine(node: gs.Node) -> Quantization:
    """The scale and zero point of a QuantizeLinear or DequantizeLinear. Raises UnsupportedError for computed ones."""
    if len(node.inputs) < _WITH_ZERO_POINT or not all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:]):
        raise UnsupportedError(
            f"reading the quantized network: {node.name} ({node.op}) has a scale or a zero point that is known only at "
            "run time. Make them constants (static quantization), or compile the model in float."
        )
    scale, zero = node.inputs[1].values, node.inputs[2].values
    axis = int(node.attrs.get("axis", 1)) if scale.ndim else None
    scales, zeros = (array.reshape(-1) for array in (scale, zero))
    return Quantization(tuple(map(float, scales)), tuple(map(int, zeros)), str(zero.dtype), axis)


def _fault(kernel: Kernel, node: gs.Node, what: str) -> UnsupportedError:
    return UnsupportedError(
        f"reading the quantized network: {kernel.name}: {node.name} {what}. Quantize the float network with this "
        "toolkit, or compile the model in float."
    )

"""From a fused kernel of the graph to the workload of a template.

Each `read_*` returns the workload with its constants, or raises NoTemplate with the reason in a sentence
that a user can act on. The reasons decide, explain (`mdc explain`) and are tested: they stand here only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.activation import Activation, activation_after, single_activation
from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.convolution import Convolution, Layout
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.constants import constant, optional_input, scalar
from mdcompiler.epilogue import Residual, epilogue
from mdcompiler.kernel import Kernel

Array = NDArray[Any]


class NoTemplate(Exception):  # noqa: N818 - it is no error: the kernel goes another way
    """No template fits; the message is the reason."""


@dataclass(frozen=True)
class ReadConvolution:
    """A convolution kernel: workload, weight [O,C,kh,kw], bias [O], tensor names."""

    work: Convolution
    weight: Array
    bias: Array
    source: str
    residual: str
    target: str
    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class ReadWindow:
    """A depthwise or pooling kernel: workload, weight [C,1,kh,kw] and bias [C] (empty for pooling)."""

    work: Window
    weight: Array
    bias: Array
    source: str
    target: str


@dataclass(frozen=True)
class ReadGate:
    """A squeeze-excite kernel: weights [R,C], [C,R] and biases of its two layers, their activations."""

    channels: int
    pixels: int
    reduce: tuple[Array, Array, Curve]
    expand: tuple[Array, Array, Curve]
    source: str
    target: str


def read_convolution(kernel: Kernel, lanes: int) -> ReadConvolution:
    """A kernel of kind stem, head, pointwise or conv."""
    node = _convolution_node(kernel)
    weight, bias = _weights(node)
    curve, residual, place = _epilogue(kernel)
    scale, offset = _preprocessing(kernel) if kernel.kind == "stem" else (1.0, 0.0)
    source: Layout = "interleaved" if kernel.kind == "stem" else "blocked"
    work = Convolution(
        read_geometry(node),
        in_channels=weight.shape[1],
        out_channels=weight.shape[0],
        lanes=lanes,
        activation=curve,
        residual=place,
        source=source,
        target="interleaved" if kernel.kind == "head" else "blocked",
    )
    return ReadConvolution(work, weight, bias, kernel.inputs[0].name, residual, kernel.outputs[0].name, scale, offset)


def read_depthwise(kernel: Kernel, lanes: int) -> ReadWindow:
    """A kernel of kind depthwise."""
    node = _convolution_node(kernel)
    weight, bias = _weights(node)
    curve, residual, _ = _epilogue(kernel)
    geometry = read_geometry(node)
    if residual:
        raise NoTemplate("a depthwise kernel cannot add a residual.")
    if geometry.dilation != (1, 1):
        raise NoTemplate(f"a depthwise kernel of dilation {geometry.dilation}; only 1 has a template.")
    work = Window(geometry, weight.shape[0], lanes, curve)
    return ReadWindow(work, weight, bias, kernel.inputs[0].name, kernel.outputs[0].name)


def read_max_pool(kernel: Kernel, lanes: int) -> ReadWindow:
    """A kernel of kind pool that is one MaxPool over two dimensions."""
    node = _single(kernel, "MaxPool")
    _require_images(node)
    if len(node.outputs) > 1 or node.attrs.get("storage_order", 0):
        raise NoTemplate("a MaxPool that also returns indices.")
    geometry = read_geometry(node)
    if geometry.dilation != (1, 1):
        raise NoTemplate(f"a MaxPool of dilation {geometry.dilation}; only 1 has a template.")
    work = Window(geometry, int(node.inputs[0].shape[1]), lanes, operation="max")
    none = np.zeros(0, np.float32)
    return ReadWindow(work, none, none, node.inputs[0].name, node.outputs[0].name)


def read_mean(kernel: Kernel) -> tuple[str, str, int, int]:
    """A GlobalAveragePool: source, target, channels, pixels."""
    node = _single(kernel, "GlobalAveragePool")
    _require_images(node)
    _, channels, height, width = node.inputs[0].shape
    return node.inputs[0].name, node.outputs[0].name, int(channels), int(height * width)


def read_squeeze_excite(kernel: Kernel) -> ReadGate:
    """A kernel of kind squeeze_excite."""
    layers = [node for node in kernel.nodes if node.op == "Conv"]
    product = kernel.nodes[-1]
    if len(layers) != 2 or product.op != "Mul" or len(kernel.inputs) != 1:
        raise NoTemplate("a squeeze-excite that is not pool, two 1x1 convolutions, gate and product.")
    source = kernel.inputs[0]
    _require_images(product)
    _, channels, height, width = source.shape
    reduce, expand = (_dense(layer) for layer in layers)
    if expand[0].shape[0] != channels:
        raise NoTemplate(f"a squeeze-excite with {expand[0].shape[0]} gates for {channels} channels.")
    return ReadGate(int(channels), int(height * width), reduce, expand, source.name, kernel.outputs[0].name)


def read_add(kernel: Kernel) -> tuple[str, str, str, Curve]:
    """A kernel of kind add: left, right, target, activation after the sum."""
    node = kernel.nodes[0]
    if node.op != "Add" or len(kernel.inputs) != 2 or len(kernel.outputs) != 1:
        raise NoTemplate("a sum that is not of two different tensors.")
    left, right = node.inputs
    if list(left.shape) != list(right.shape):
        raise NoTemplate(f"a sum of shapes {list(left.shape)} and {list(right.shape)}; both must be equal.")
    _require_float(node)
    if len(kernel.nodes) == 1:
        return left.name, right.name, kernel.outputs[0].name, Curve()
    activation = activation_after(node.outputs[0])
    if activation is None or 1 + len(activation.nodes) != len(kernel.nodes):
        raise NoTemplate("a sum followed by more than one activation.")
    return left.name, right.name, kernel.outputs[0].name, curve_of(activation)


def read_activation(kernel: Kernel) -> tuple[str, str, Curve]:
    """A kernel of kind elementwise that is one activation: source, target, curve."""
    node = kernel.nodes[0]
    activation = single_activation(node)
    if activation is None or len(kernel.nodes) != 1:
        raise NoTemplate(f"{node.op} is no activation with a template.")
    _require_float(node)
    return node.inputs[0].name, node.outputs[0].name, curve_of(activation)


def curve_of(activation: Activation) -> Curve:
    """The activation as templates know it."""
    if activation.kind in ("relu", "clip"):
        return Curve("clip", low=activation.low, high=activation.high)
    if activation.kind == "hard_sigmoid":
        return Curve("hard_sigmoid", slope=activation.alpha, offset=activation.beta)
    return Curve(activation.kind)


def read_geometry(node: gs.Node) -> Geometry:
    """Kernel, stride, padding and sizes of a Conv or MaxPool node."""
    if node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", ""):
        raise NoTemplate(f"auto_pad={node.attrs['auto_pad']}; explicit pads are needed.")
    shape = node.attrs.get("kernel_shape") or node.inputs[1].shape[2:]
    pads = node.attrs.get("pads", [0, 0, 0, 0])
    (_, _, height, width), (_, _, out_height, out_width) = node.inputs[0].shape, node.outputs[0].shape
    return Geometry(
        size=(int(height), int(width)),
        kernel=(int(shape[0]), int(shape[1])),
        stride=_pair(node, "strides"),
        pad=(int(pads[0]), int(pads[1])),
        out=(int(out_height), int(out_width)),
        dilation=_pair(node, "dilations"),
    )


def _pair(node: gs.Node, attribute: str) -> tuple[int, int]:
    first, second = node.attrs.get(attribute, [1, 1])
    return int(first), int(second)


def _convolution_node(kernel: Kernel) -> gs.Node:
    node = kernel.find("Conv")
    if node is None:
        raise NoTemplate("there is no convolution in the kernel.")
    if len(kernel.outputs) != 1:
        raise NoTemplate("a result inside the kernel is needed outside as well.")
    _require_images(node)
    return node


def _require_images(node: gs.Node) -> None:
    """Templates work on one picture at a time: four dimensions, batch 1, float32."""
    shape = node.outputs[0].shape
    if len(shape) != 4 or shape[0] != 1:
        raise NoTemplate(f"shape {list(shape)}; templates take [1, channels, height, width].")
    _require_float(node)


def _require_float(node: gs.Node) -> None:
    if np.dtype(node.outputs[0].dtype) != np.float32:
        raise NoTemplate(f"{np.dtype(node.outputs[0].dtype)} arithmetic; templates compute in float32.")


def _weights(node: gs.Node) -> tuple[Array, Array]:
    weight = constant(node.inputs[1])
    if weight is None:
        raise NoTemplate("the weights are computed at run time; templates need constants.")
    bias_tensor = optional_input(node, 2)
    bias = np.zeros(weight.shape[0], np.float32) if bias_tensor is None else constant(bias_tensor)
    if bias is None:
        raise NoTemplate("the bias is computed at run time; templates need constants.")
    return weight, bias


def _epilogue(kernel: Kernel) -> tuple[Curve, str, Literal["none", "before", "after"]]:
    """Activation, name of the residual tensor, and where it is added."""
    steps = epilogue(kernel)
    kinds = ["add" if isinstance(step, Residual) else "act" for step in steps]
    curve = next((curve_of(step) for step in steps if isinstance(step, Activation)), Curve())
    residual = next((step.operand.name for step in steps if isinstance(step, Residual)), "")
    if kinds in ([], ["act"]):
        return curve, "", "none"
    if kinds in (["add"], ["add", "act"]):
        return curve, residual, "before"
    if kinds == ["act", "add"]:
        return curve, residual, "after"
    raise NoTemplate(f"after the convolution come {', '.join(kinds)}; at most one activation and one sum fit.")


def _preprocessing(kernel: Kernel) -> tuple[float, float]:
    """Scale and offset that the picture's bytes get before the stem."""
    scale, offset = 1.0, 0.0
    for node in kernel.nodes:
        if node.op == "Conv":
            break
        if node.op in ("Mul", "Add"):
            value = next((scalar(tensor) for tensor in node.inputs if scalar(tensor) is not None), None)
            if value is None:
                raise NoTemplate("preprocessing with another factor for each channel.")
            scale, offset = (value, offset) if node.op == "Mul" else (scale, value)
    return scale, offset


def _dense(layer: gs.Node) -> tuple[Array, Array, Curve]:
    weight, bias = _weights(layer)
    if tuple(weight.shape[2:]) != (1, 1):
        raise NoTemplate(f"a squeeze-excite layer with a {tuple(weight.shape[2:])} kernel; 1x1 has a template.")
    activation = activation_after(layer.outputs[0])
    return weight[:, :, 0, 0], bias, curve_of(activation) if activation else Curve()


def _single(kernel: Kernel, op: str) -> gs.Node:
    if len(kernel.nodes) != 1 or kernel.nodes[0].op != op:
        raise NoTemplate(f"{kernel.nodes[0].op} has no template.")
    return kernel.nodes[0]

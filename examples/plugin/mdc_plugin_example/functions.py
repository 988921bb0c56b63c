"""The operators that the NumPy backend runs: one function each, called with the node's attributes and inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

Array = NDArray[Any]
Attributes = Mapping[str, Any]
Function = Callable[..., Array]


def conv(attributes: Attributes, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Convolution of x [1, I, H, W] with weight [O, I / group, kh, kw]: windows, then one product a group."""
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    rows, columns = attributes.get("strides", (1, 1))
    group = attributes.get("group", 1)
    padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(1, 2))[:, ::rows, ::columns]
    grouped = windows.reshape(group, -1, *windows.shape[1:])
    kernels = weight.reshape(group, -1, *weight.shape[1:])
    y: Array = np.einsum("gihwyx,goiyx->gohw", grouped, kernels, optimize=True)
    y = y.reshape(1, -1, *y.shape[2:])
    return y if bias is None else y + bias[:, None, None]


def hard_sigmoid(attributes: Attributes, x: Array) -> Array:
    """max(0, min(1, alpha x + beta))."""
    alpha, beta = (np.float32(attributes.get(key, value)) for key, value in (("alpha", 0.2), ("beta", 0.5)))
    y: Array = np.clip(alpha * x + beta, 0, 1)
    return y


def reshape(_: Attributes, x: Array, shape: Array) -> Array:
    """x with another shape; an extent of 0 stays what it was."""
    return x.reshape([extent or x.shape[axis] for axis, extent in enumerate(shape)])


FUNCTIONS: Mapping[str, Function] = {
    "Add": lambda _, x, y: x + y,
    "Cast": lambda _, x: x.astype(np.float32),
    "Clip": lambda _, x, low, high: np.clip(x, low, high),
    "Concat": lambda attributes, *parts: np.concatenate(parts, axis=attributes["axis"]),
    "Conv": conv,
    "GlobalAveragePool": lambda _, x: x.mean(axis=(2, 3), keepdims=True),
    "HardSigmoid": hard_sigmoid,
    "Mul": lambda _, x, y: x * y,
    "Relu": lambda _, x: np.maximum(x, 0),
    "Reshape": reshape,
    "Sigmoid": lambda _, x: np.tanh(x / 2) / 2 + 0.5,
    "Transpose": lambda attributes, x: x.transpose(attributes.get("perm")),
}


ATTRIBUTES = ("alpha", "axis", "beta", "group", "pads", "perm", "strides")
"""What the functions read of a node; everything else is either the default or refused."""


def why_not(node: gs.Node) -> str | None:
    """None when `FUNCTIONS` can run `node`, else the reason."""
    if node.op not in FUNCTIONS or node.domain:
        return f"there is no NumPy function for the operator {node.op}; there are {', '.join(FUNCTIONS)}."
    if any(tensor.is_empty() for tensor in node.inputs):
        return f"the NumPy {node.op} wants every input, also the optional ones."
    if node.op == "Cast" and node.outputs[0].dtype != np.float32:
        return f"the NumPy Cast makes float32 only, not {node.outputs[0].dtype}."
    if any(extent != 1 for extent in node.attrs.get("dilations", ())):
        return "the NumPy convolution has no dilation."
    if node.attrs.get("auto_pad", "NOTSET") != "NOTSET":
        return f"the NumPy convolution takes explicit pads, not auto_pad {node.attrs['auto_pad']}."
    return None

"""Operators in NumPy, by elementwise arithmetic and sums that round alike everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.evaluator.products import matmul
from mdcompiler.evaluator.windows import Convolution, average_pool, is_known
from mdcompiler.same_everywhere import exp, log, sigmoid, tanh

Array = NDArray[Any]
Attributes = Mapping[str, Any]
Compute = Callable[[list[Any]], Array]


def _float32(function: Callable[[Array], Array]) -> Callable[[Attributes], Compute]:
    return lambda _: lambda inputs: function(inputs[0]).astype(np.float32)


def _plain(function: Callable[..., Any]) -> Callable[[Attributes], Compute]:
    return lambda _: lambda inputs: np.asarray(function(*inputs))


def _clip(_: Attributes) -> Compute:
    def run(inputs: list[Any]) -> Array:
        x, low, high = [*inputs, None, None][:3]
        x = x if low is None else np.maximum(x, low)
        return np.asarray(x if high is None else np.minimum(x, high))

    return run


def _hard_sigmoid(attributes: Attributes) -> Compute:
    slope, offset = (np.float32(attributes.get(*item)) for item in (("alpha", 0.2), ("beta", 0.5)))
    return lambda inputs: np.clip(inputs[0] * slope + offset, np.float32(0), np.float32(1))


def _hard_swish(_: Attributes) -> Compute:
    gate = _hard_sigmoid({"alpha": 1 / 6, "beta": 0.5})
    return lambda inputs: inputs[0] * gate(inputs)


def _leaky_relu(attributes: Attributes) -> Compute:
    slope = np.float32(attributes.get("alpha", 0.01))
    return lambda inputs: np.where(inputs[0] < 0, inputs[0] * slope, inputs[0])


def _softmax(attributes: Attributes) -> Compute:
    axis = int(attributes.get("axis", -1))

    def run(inputs: list[Any]) -> Array:
        x = np.moveaxis(inputs[0].astype(np.float64), axis, -1)
        grown = np.ascontiguousarray(exp(x - x.max(axis=-1, keepdims=True)))
        return np.moveaxis(grown / np.add.reduce(grown, axis=-1, keepdims=True), -1, axis).astype(np.float32)

    return run


def _global_mean(_: Attributes) -> Compute:
    def run(inputs: list[Any]) -> Array:
        rows = np.ascontiguousarray(inputs[0], np.float64).reshape(*inputs[0].shape[:2], -1)
        mean = np.add.reduce(rows, axis=-1) / rows.shape[-1]
        return np.asarray(mean.reshape(*inputs[0].shape[:2], *[1] * (inputs[0].ndim - 2)), np.float32)

    return run


def _batch_normalization(attributes: Attributes) -> Compute:
    epsilon = float(attributes.get("epsilon", 1e-5))

    def run(inputs: list[Any]) -> Array:
        x, *rows = (np.asarray(item, np.float64) for item in inputs)
        scale, bias, mean, variance = (row.reshape(-1, *[1] * (x.ndim - 2)) for row in rows)
        return ((x - mean) * (scale / np.sqrt(variance + epsilon)) + bias).astype(np.float32)

    return run


def _gemm(attributes: Attributes) -> Compute:
    alpha, beta = np.float32(attributes.get("alpha", 1.0)), np.float32(attributes.get("beta", 1.0))

    def run(inputs: list[Any]) -> Array:
        left = inputs[0].T if attributes.get("transA", 0) else inputs[0]
        right = inputs[1].T if attributes.get("transB", 0) else inputs[1]
        product = matmul(left, right) * alpha
        return product if len(inputs) < 3 or inputs[2] is None else product + inputs[2] * beta

    return run


def _matmul(_: Attributes) -> Compute:
    def run(inputs: list[Any]) -> Array:
        left, right = inputs
        if left.ndim < 2 or right.ndim < 2:
            return matmul(np.atleast_2d(left), right.reshape(len(right), -1)).reshape(np.matmul(left, right).shape)
        if right.ndim == 2:
            return matmul(left.reshape(-1, left.shape[-1]), right).reshape(*left.shape[:-1], right.shape[-1])
        lead = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        lefts = np.broadcast_to(left, (*lead, *left.shape[-2:])).reshape(-1, *left.shape[-2:])
        rights = np.broadcast_to(right, (*lead, *right.shape[-2:])).reshape(-1, *right.shape[-2:])
        made = np.stack([matmul(a, b) for a, b in zip(lefts, rights, strict=True)])
        return made.reshape(*lead, *made.shape[-2:])

    return run


def _transpose(attributes: Attributes) -> Compute:
    return lambda inputs: np.transpose(inputs[0], attributes.get("perm"))


def _concat(attributes: Attributes) -> Compute:
    return lambda inputs: np.concatenate(inputs, axis=int(attributes["axis"]))


def average_pool_node(attributes: Attributes) -> Compute | None:
    """An AveragePool, None for one that only ONNX Runtime knows."""
    known = is_known(attributes, attributes["kernel_shape"])
    return (lambda inputs: average_pool(inputs[0], attributes)) if known else None


def convolution_node(attributes: Attributes, weight: Array, bias: Array | None) -> Compute | None:
    """A Conv with constant weights, None for one that only ONNX Runtime knows."""
    if not is_known(attributes, weight.shape[2:]):
        return None
    made = Convolution(weight, bias, attributes)
    return lambda inputs: made.run(inputs[0])


def _quantize(attributes: Attributes) -> Compute:
    def run(inputs: list[Any]) -> Array:
        x, scale, zero = inputs
        if x.dtype != np.float32 or zero.dtype not in (np.uint8, np.int8, np.uint16, np.int16):
            raise NotImplementedError
        scale, zero = (_along(item, x.ndim, int(attributes.get("axis", 1))) for item in (scale, zero))
        info = np.iinfo(zero.dtype)
        return np.asarray(np.clip(np.rint(x / scale) + zero, info.min, info.max), zero.dtype)

    return run


def _dequantize(attributes: Attributes) -> Compute:
    def run(inputs: list[Any]) -> Array:
        x, scale = inputs[:2]
        zero = np.zeros((), x.dtype) if len(inputs) < 3 or inputs[2] is None else inputs[2]
        scale, zero = (_along(item, x.ndim, int(attributes.get("axis", 1))) for item in (scale, zero))
        return np.asarray((x.astype(np.int64) - zero).astype(np.float32) * scale, np.float32)

    return run


def _along(values: Array, rank: int, axis: int) -> Array:
    shape = [1] * rank
    if np.ndim(values):
        shape[axis % rank] = -1
    return np.reshape(values, shape)


NODES: dict[str, Callable[[Attributes], Compute]] = {
    "Add": _plain(np.add),
    "Sub": _plain(np.subtract),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "Abs": _plain(np.abs),
    "Sqrt": _plain(np.sqrt),
    "Max": _plain(lambda *items: np.maximum.reduce(np.broadcast_arrays(*items))),
    "Min": _plain(lambda *items: np.minimum.reduce(np.broadcast_arrays(*items))),
    "Identity": _plain(lambda x: x),
    "Relu": _plain(lambda x: np.maximum(x, np.float32(0))),
    "Exp": _float32(exp),
    "Sigmoid": _float32(sigmoid),
    "Tanh": _float32(tanh),
    "Log": _float32(lambda x: np.where(x > 0, log(np.where(x > 0, x, 1.0)), np.where(x == 0, -np.inf, np.nan))),
    "Softplus": _float32(lambda x: np.maximum(x, 0) + log(1.0 + exp(-np.abs(x.astype(np.float64))))),
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LeakyRelu": _leaky_relu,
    "Softmax": _softmax,
    "GlobalAveragePool": _global_mean,
    "BatchNormalization": _batch_normalization,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Transpose": _transpose,
    "Concat": _concat,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _dequantize,
}
"""Operator -> its attributes -> its result of its inputs, None where one is left out."""

MOVING = frozenset(
    {
        "ArgMax",
        "ArgMin",
        "Cast",
        "Ceil",
        "Compress",
        "ConstantOfShape",
        "DepthToSpace",
        "Equal",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "GatherElements",
        "GatherND",
        "Greater",
        "GreaterOrEqual",
        "Less",
        "LessOrEqual",
        "MaxPool",
        "Mod",
        "Not",
        "NonZero",
        "OneHot",
        "Pad",
        "ReduceMax",
        "ReduceMin",
        "Reshape",
        "Round",
        "ScatterElements",
        "ScatterND",
        "Shape",
        "Sign",
        "Size",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Unsqueeze",
        "Where",
    }
)
"""Operators that round nothing: ONNX Runtime gives the same bits everywhere."""

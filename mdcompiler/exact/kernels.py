"""Operators in numpy, as ONNX defines them since opset 13: those that are frequent or that others have slowly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mdcompiler.exact.windows import average_pool, convolve, max_pool

Kernel = Callable[[Sequence[Any], Mapping[str, Any]], Any]


def _clip(inputs: Sequence[Any], _: Mapping[str, Any]) -> Any:
    x, low, high = [*inputs, None, None][:3]
    raised = x if low is None else np.maximum(x, low)
    return raised if high is None else np.minimum(raised, high)


def _sigmoid(inputs: Sequence[Any], _: Mapping[str, Any]) -> Any:
    x = inputs[0]
    tail = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + tail), tail / (1 + tail))


def _hard_sigmoid(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    alpha, beta = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return np.clip(alpha * inputs[0] + beta, 0, 1)


def _hard_swish(inputs: Sequence[Any], _: Mapping[str, Any]) -> Any:
    return inputs[0] * np.clip(inputs[0] / 6 + 0.5, 0, 1)


def _leaky_relu(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    return np.where(inputs[0] < 0, attributes.get("alpha", 0.01) * inputs[0], inputs[0])


def _batch_normalization(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    x, *rows = inputs
    scale, bias, mean, variance = (row.reshape(-1, *[1] * (x.ndim - 2)) for row in rows)
    return (x - mean) / np.sqrt(variance + attributes.get("epsilon", 1e-5)) * scale + bias


def _gemm(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    a, b, c = [*inputs, None][:3]
    left, right = (a.T if attributes.get("transA") else a), (b.T if attributes.get("transB") else b)
    product = attributes.get("alpha", 1.0) * (left @ right)
    return product if c is None else product + attributes.get("beta", 1.0) * c


def _global_mean(inputs: Sequence[Any], _: Mapping[str, Any]) -> Any:
    return np.asarray(inputs[0].mean(axis=tuple(range(2, inputs[0].ndim)), keepdims=True))


def _transpose(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    return np.transpose(inputs[0], attributes.get("perm"))


def _concat(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    return np.concatenate(inputs, axis=attributes["axis"])


def _reshape(inputs: Sequence[Any], attributes: Mapping[str, Any]) -> Any:
    x, shape = inputs
    extents = [int(extent) for extent in shape]
    if not attributes.get("allowzero"):
        extents = [x.shape[axis] if extent == 0 else extent for axis, extent in enumerate(extents)]
    return np.reshape(x, extents)


KERNELS: Mapping[str, Kernel] = {
    "Add": lambda inputs, _: inputs[0] + inputs[1],
    "AveragePool": average_pool,
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": convolve,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_mean,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": lambda inputs, _: inputs[0],
    "LeakyRelu": _leaky_relu,
    "MatMul": lambda inputs, _: np.asarray(np.matmul(inputs[0], inputs[1])),
    "MaxPool": max_pool,
    "Mul": lambda inputs, _: inputs[0] * inputs[1],
    "Neg": lambda inputs, _: -inputs[0],
    "Relu": lambda inputs, _: np.maximum(inputs[0], 0),
    "Reshape": _reshape,
    "Sigmoid": _sigmoid,
    "Sub": lambda inputs, _: inputs[0] - inputs[1],
    "Tanh": lambda inputs, _: np.tanh(inputs[0]),
    "Transpose": _transpose,
}
"""Operator of the ONNX domain -> its single result. They are for floats; integers go to ONNX Runtime."""

"""Sums in float32, one term after the other: from the bias on, as a plain loop adds, or from the last term back."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.exact.windows import convolution_taps

Array = NDArray[Any]
Sum = Callable[[Sequence[Any], Mapping[str, Any], bool], Array]
"""From operands, attributes, and whether the last term comes first, to the node's result as float32."""


def _convolve(operands: Sequence[Any], attributes: Mapping[str, Any], backward: bool) -> Array:
    x, w, bias = [*operands, None][:3]
    out, taps = convolution_taps(x, w, attributes)
    group, channels = int(attributes.get("group", 1)), w.shape[1]
    weights = _single(w).reshape(group, w.shape[0] // group, channels, -1)
    parts = [_single(tap).reshape(x.shape[0], group, channels, -1) for tap in taps]
    total = np.zeros((x.shape[0], group, weights.shape[1], parts[0].shape[-1]), np.float32)
    if bias is not None:
        total += _single(bias).reshape(group, -1, 1)
    for channel, tap in _ordered(itertools.product(range(channels), range(len(parts))), backward):
        total += weights[:, :, channel, tap, None] * parts[tap][:, :, channel, None]
    return total.reshape(x.shape[0], w.shape[0], *out)


def _gemm(operands: Sequence[Any], attributes: Mapping[str, Any], backward: bool) -> Array:
    a, b, c = [*operands, None][:3]
    left = _single(a.T if attributes.get("transA") else a) * np.float32(attributes.get("alpha", 1.0))
    right = _single(b.T if attributes.get("transB") else b)
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    if c is not None:
        total += _single(c) * np.float32(attributes.get("beta", 1.0))
    for index in _ordered(range(left.shape[1]), backward):
        total += left[:, index, None] * right[None, index]
    return total


def _matmul(operands: Sequence[Any], _: Mapping[str, Any], backward: bool) -> Array:
    left, right = map(_single, operands)
    if min(left.ndim, right.ndim) < 2:
        return np.asarray(np.matmul(left, right))
    total = np.zeros(np.broadcast_shapes((*left.shape[:-1], 1), (*right.shape[:-2], 1, right.shape[-1])), np.float32)
    for index in _ordered(range(left.shape[-1]), backward):
        total += left[..., index, None] * right[..., index, None, :]
    return total


def _global_mean(operands: Sequence[Any], _: Mapping[str, Any], backward: bool) -> Array:
    x = _single(operands[0])
    rows = x.reshape(*x.shape[:2], -1)
    total = np.add.accumulate(rows[..., ::-1] if backward else rows, axis=-1)[..., -1]
    return (total / np.float32(rows.shape[-1])).reshape(*x.shape[:2], *[1] * (x.ndim - 2))


def _single(array: Array) -> Array:
    return np.asarray(array, np.float32)


def _ordered(terms: Iterable[Any], backward: bool) -> Iterable[Any]:
    return reversed(list(terms)) if backward else terms


SUMS: Mapping[str, Sum] = {
    "Conv": _convolve,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_mean,
    "MatMul": _matmul,
}
"""Operators of the ONNX domain whose sums are long."""

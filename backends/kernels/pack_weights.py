"""Constants in the memory order that the templates read: output channels innermost, in blocks of one vector.

Channels beyond the last real one are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def blocked_channels(values: Array, lanes: int) -> Array:
    """[C, …] -> [C/v, …, v]"""
    padded = _pad_first(values, lanes)
    grouped = padded.reshape(-1, lanes, *values.shape[1:])
    return np.ascontiguousarray(np.moveaxis(grouped, 1, -1))


def pack_convolution(weight: Array, lanes: int) -> Array:
    """[O, C, kh, kw] -> [O/v, C, kh, kw, v]"""
    return blocked_channels(weight, lanes)


def pack_bias(bias: Array, lanes: int) -> Array:
    """[O] -> [O rounded up to v]"""
    return _pad_first(bias, lanes)


def pack_dense(weight: Array, lanes: int) -> Array:
    """[O, C] -> [C, O rounded up to v]"""
    return np.ascontiguousarray(_pad_first(weight, lanes).T)


def _pad_first(values: Array, lanes: int) -> Array:
    missing = -values.shape[0] % lanes
    return np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1))

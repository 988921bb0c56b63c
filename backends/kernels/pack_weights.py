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


def pack_convolution(weight: Array, lanes: int, groups: int, channel_block: int) -> Array:
    """[O, C, kh, kw] in the order in which a tile of `groups` output blocks reads: [O/(g v)][C/b][kh][kw][b][g][v].

    channel_block: b, how many input channels lie side by side; the last block of channels may be short.
    """
    outputs, channels = _pad_first(weight, lanes), weight.shape[1]
    tiles = outputs.reshape(-1, groups, lanes, *weight.shape[1:])
    parts = [
        tiles[:, :, :, start : start + channel_block].transpose(0, 4, 5, 3, 1, 2).reshape(len(tiles), -1)
        for start in range(0, channels, channel_block)
    ]
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def pack_bias(bias: Array, lanes: int) -> Array:
    """[O] -> [O rounded up to v]"""
    return _pad_first(bias, lanes)


def pack_dense(weight: Array, lanes: int) -> Array:
    """[O, C] -> [C, O rounded up to v]"""
    return np.ascontiguousarray(_pad_first(weight, lanes).T)


def _pad_first(values: Array, lanes: int) -> Array:
    missing = -values.shape[0] % lanes
    return np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1))

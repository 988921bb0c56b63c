"""Constants in the memory order that the templates read: output channels innermost, in blocks of one vector.

Channels beyond the last real one are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.kernels.geometry import Axis, Geometry
from mdcompiler.backends.kernels.integer_convolution import QUAD, IntegerConvolution

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


def pack_integer_convolution(weight: Array, work: IntegerConvolution, groups: int) -> Array:
    """[O, C, kh, kw] integers, zero point taken off, as the int8 kernel reads them.

    [O/(g v)][C/b][kh][kw][b/4][g][part][v][4], parts that add up to the weights, zeros beyond the last channel.
    """
    outputs, channels = _pad_first(weight.astype(np.int16), work.lanes), weight.shape[1]
    tiles = outputs.reshape(-1, groups, work.lanes, *weight.shape[1:])
    parts = [
        _pack_quads(tiles[:, :, :, start : start + work.channel_block], work.parts)
        for start in range(0, channels, work.channel_block)
    ]
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def _pack_quads(tiles: Array, parts: int) -> Array:
    """[T, g, v, b, kh, kw] int16 -> [T, kh kw b/4 g part v 4] int8"""
    missing = -tiles.shape[3] % QUAD
    padded = np.pad(tiles, [(0, 0)] * 3 + [(0, missing)] + [(0, 0)] * 2)
    quads = padded.reshape(*padded.shape[:3], -1, QUAD, *padded.shape[4:])
    halves = []
    for _ in range(parts):
        halves.append(np.clip(quads, -128, 127))
        quads = quads - halves[-1]
    if quads.any():
        raise ValueError(f"these weights need more than {parts} int8 tensors")
    stacked = np.stack(halves, axis=2)  # T g part v quad 4 kh kw
    return stacked.transpose(0, 6, 7, 4, 1, 2, 3, 5).reshape(len(tiles), -1).astype(np.int8)


def weight_parts(weight: Array) -> int:
    """How many int8 tensors the integers of `weight` are the sum of; 1 unless they come from uint8."""
    return max(1, -(-int(weight.max()) // 127), -(int(weight.min()) // 128))


def start_table(weight: Array, bias: Array, zero_point: int, geometry: Geometry, lanes: int) -> Array:
    """What each sum starts from: bias - zero_point * sum of the weights under the taps that exist.

    weight [O, C, kh, kw] integers, bias [O]; the result is int32 [row classes][column classes][O rounded up].
    """
    per_tap = weight.astype(np.int64).sum(1)
    rows, columns = (_existing_taps(geometry, axis) for axis in (0, 1))
    sums = np.einsum("oij,ri,cj->rco", per_tap, rows, columns)
    table = bias.astype(np.int64) - zero_point * sums
    padding = -table.shape[2] % lanes
    return np.pad(table, [(0, 0), (0, 0), (0, padding)]).astype(np.int32)


def _existing_taps(geometry: Geometry, axis: Axis) -> Array:
    """[border classes, taps]: 1 where the tap is inside the picture."""
    return np.array(
        [
            [int(geometry.exists(axis, index, tap)) for tap in range(geometry.kernel[axis])]
            for index in geometry.border_classes(axis)
        ],
        np.int64,
    )


def pack_bias(bias: Array, lanes: int) -> Array:
    """[O] -> [O rounded up to v]"""
    return _pad_first(bias, lanes)


def pack_dense(weight: Array, lanes: int) -> Array:
    """[O, C] -> [C, O rounded up to v]"""
    return np.ascontiguousarray(_pad_first(weight, lanes).T)


def _pad_first(values: Array, lanes: int) -> Array:
    missing = -values.shape[0] % lanes
    return np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1))

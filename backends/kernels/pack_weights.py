"""Constants in the memory order that the templates read: output channels innermost, in blocks of one vector.

Channels beyond the last real one are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.kernels.dot_product import OCTET, QUAD, Dot, DotName, QuadDot, dot_of, quad_dot_of
from mdcompiler.backends.kernels.geometry import Axis, Geometry
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution
from mdcompiler.backends.kernels.integer_window import IntegerWindow

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

    [O/(g v)][C/b][kh][kw][b/4][g][part][4 v in the dot product's order], for matrix products
    [O/(g v)][C/8][kh][kw][g][part][v][8], where a row of the kernel is one vector
    [O/(g v)][kh][kw C/4][g][part][v][4]; parts that add up to the weights, zeros beyond the last channel.
    """
    if work.by_rows:
        weight = weight.transpose(0, 3, 1, 2).reshape(len(weight), -1, weight.shape[2], 1)  # [O, kw C, kh, 1]
    outputs, channels = _pad_first(weight.astype(np.int16), work.lanes), weight.shape[1]
    tiles = outputs.reshape(-1, groups, work.lanes, *weight.shape[1:])
    if work.by_rows:
        return np.ascontiguousarray(_pack_quads(tiles, work.parts, quad_dot_of(work.dot)))
    if work.dot == "usmmla":
        return _pack_octets(tiles, work.parts, dot_of(work.dot))
    parts = [
        _pack_quads(tiles[:, :, :, start : start + work.channel_block], work.parts, quad_dot_of(work.dot))
        for start in range(0, channels, work.channel_block)
    ]
    return np.ascontiguousarray(np.concatenate(parts, axis=1))


def _pack_octets(tiles: Array, parts: int, dot: Dot) -> Array:
    """[T, g, v, C, kh, kw] int16 -> [T, C/8 kh kw g part v 8]"""
    missing = -tiles.shape[3] % OCTET
    padded = np.pad(tiles, [(0, 0)] * 3 + [(0, missing)] + [(0, 0)] * 2)
    octets = padded.reshape(*padded.shape[:3], -1, OCTET, *padded.shape[4:])
    stacked = np.stack(split_weights(octets, parts, dot), axis=2)  # T g part v octet 8 kh kw
    ordered = stacked.transpose(0, 4, 6, 7, 1, 2, 3, 5).reshape(len(tiles), -1)
    return np.ascontiguousarray(ordered).astype(dot.dtype)


def _pack_quads(tiles: Array, parts: int, dot: QuadDot) -> Array:
    """[T, g, v, b, kh, kw] int16 -> [T, kh kw b/4 g part 4v]"""
    missing = -tiles.shape[3] % QUAD
    padded = np.pad(tiles, [(0, 0)] * 3 + [(0, missing)] + [(0, 0)] * 2)
    quads = padded.reshape(*padded.shape[:3], -1, QUAD, *padded.shape[4:])
    stacked = np.stack(split_weights(quads, parts, dot), axis=2)  # T g part v quad 4 kh kw
    return dot.pack(stacked.transpose(0, 6, 7, 4, 1, 2, 3, 5)).reshape(len(tiles), -1).astype(dot.dtype)


def pack_integer_window(weight: Array, work: IntegerWindow) -> Array:
    """[C, kh, kw] integers as the depthwise kernels read them.

    By quads int8 [C/v][kh][kw/4][v][4], zeros beyond the last column; by halves int16 [C/v][kh][kw][2][v], twice the
    same; otherwise float32 [C/v][kh][kw][v].
    """
    if work.by_halves:
        once = blocked_channels(weight.astype(np.int16), work.lanes)
        return np.concatenate([once, once], axis=-1)
    if not work.by_quads:
        return blocked_channels(weight.astype(np.float32), work.lanes)
    padded = np.pad(weight, [(0, 0), (0, 0), (0, work.quads * QUAD - weight.shape[2])])
    quads = blocked_channels(padded.reshape(*weight.shape[:2], -1, QUAD), work.lanes)  # C/v kh q 4 v
    return np.ascontiguousarray(np.moveaxis(quads, -1, -2)).astype(np.int8)


def split_weights(weight: Array, parts: int, dot: Dot) -> list[Array]:
    """`parts` tensors within the bounds of the dot product's weights that add up to `weight`."""
    found = []
    for _ in range(parts):
        found.append(np.clip(weight, dot.low, dot.high))
        weight = weight - found[-1]
    if weight.any():
        raise ValueError(f"these weights need more than {parts} tensors of {dot.dtype}")
    return found


def weight_parts(weight: Array, name: DotName) -> int:
    """How many tensors of the dot product's weights the integers of `weight` are the sum of."""
    dot = dot_of(name)
    return max(1, -(-int(weight.max()) // dot.high), -(int(weight.min()) // -dot.low))


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

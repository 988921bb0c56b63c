"""Constants in the memory order of the HVX kernels. Channels beyond the last real one are zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.hexagon.ending import LEFT, Ending
from mdcompiler.backends.hexagon.instructions import LANES, QUAD, VECTOR_BYTES
from mdcompiler.backends.hexagon.sums import WEIGHT_OFFSET
from mdcompiler.errors import InternalError
from mdcompiler.quantization.fixed_point import fixed_point

Array = NDArray[Any]


def pad_to(values: Array, axis: int, multiple: int) -> Array:
    """`values` with zeros behind, so that `multiple` divides its length along `axis`."""
    missing = -values.shape[axis] % multiple
    return np.pad(values, [(0, missing if i == axis else 0) for i in range(values.ndim)])


def pack_weights(weight: Array, groups: int) -> Array:
    """[O, C, kh, kw] int8 values as unsigned bytes: [O/(32 g)][C/32][kh][kw][C/4][g][32][4], plus 128."""
    outputs = pad_to(weight, 0, LANES * groups)
    blocks = [
        _pack_block(pad_to(outputs[:, start : start + LANES], 1, QUAD), groups)
        for start in range(0, weight.shape[1], LANES)
    ]
    return (np.concatenate(blocks, axis=1) + WEIGHT_OFFSET).astype(np.uint8)


def _pack_block(weight: Array, groups: int) -> Array:
    """[T g 32, c, kh, kw] -> [T, …]"""
    outputs, channels, *kernel = weight.shape
    tiles = weight.reshape(-1, groups, LANES, channels // QUAD, QUAD, *kernel)
    #        0      1       2      3                4     5 kh, 6 kw
    ordered = tiles.transpose(0, 5, 6, 3, 1, 2, 4)
    return np.asarray(ordered.reshape(outputs // (LANES * groups), -1).astype(np.int64))


def picture_weights(weight: Array) -> Array:
    """[O, 3, kh, kw] -> [O, kw 4, kh, 1]: a row of the window as channels, three of every four used."""
    with_fourth = np.pad(weight, [(0, 0), (0, QUAD - weight.shape[1]), (0, 0), (0, 0)])
    return with_fourth.transpose(0, 3, 1, 2).reshape(len(weight), -1, weight.shape[2], 1)


def pack_scale(multiplier: Array) -> tuple[Array, Ending]:
    """Real factors [O] as [O/32][vectors][32] int32, and whether they need the third vector (`Ending.raises`)."""
    parts = factor_parts(multiplier)
    raises = bool(np.any(parts[LEFT]))
    stacked = np.stack([pad_to(part, 0, LANES).reshape(-1, LANES) for part in parts[: 3 if raises else 2]], axis=1)
    return np.ascontiguousarray(stacked.astype(np.int32)), Ending(raises=raises)


def factor_parts(real: Any) -> Array:
    """Multiplier, right shift less one, left shift of real factors, stacked: see `ending`."""
    factor = fixed_point(real)
    left = np.maximum(factor.shift + 1, 0)
    return np.stack([factor.multiplier, left - factor.shift - 1, left]).astype(np.int32)


def pack_depthwise(weight: Array) -> Array:
    """[C, kh, kw] int8 values as [C/32][kh][kw/4][32][4], stored as bytes."""
    taps = pad_to(pad_to(weight, 2, QUAD), 0, LANES)
    quads = taps.reshape(-1, LANES, taps.shape[1], taps.shape[2] // QUAD, QUAD).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(quads.astype(np.int8)).view(np.uint8)


def table_order(table: Array) -> Array:
    """256 bytes as `vlut32` wants its tables: each half of 128 with its own halves interleaved."""
    return np.ascontiguousarray(table.reshape(2, 2, -1).transpose(0, 2, 1).reshape(-1))


def float_planes(floats: Array) -> Array:
    """256 float32 as four tables of their bytes, the lowest first."""
    planes = np.ascontiguousarray(floats.astype("<f4")).view(np.uint8).reshape(-1, 4).T
    return np.concatenate([table_order(plane) for plane in planes])


def delta_control(source_of: Mapping[int, int]) -> Array:
    """The control vector of `vdelta` that brings byte `source_of[k]` to place k.

    Stage after stage (64, 32 … 1 bytes) a place may take the byte that lies that far away: its own or the one whose
    index differs in that bit. Raises InternalError for a permutation the network cannot do.
    """
    control = np.zeros(VECTOR_BYTES, np.uint8)
    holds: dict[tuple[int, int], int] = {}
    for target, source in source_of.items():
        place = source
        for stage in (64, 32, 16, 8, 4, 2, 1):
            after = (place & ~stage) | (target & stage)
            if holds.setdefault((stage, after), source) != source:
                raise InternalError(f"vdelta cannot bring byte {source} to {target} beside the others.")
            control[after] |= stage if after != place else 0
            place = after
    return control


def picture_spread() -> Array:
    """32 pixels of three bytes to four bytes each; the fourth is any."""
    return delta_control({4 * pixel + part: 3 * pixel + part for pixel in range(LANES) for part in range(3)})

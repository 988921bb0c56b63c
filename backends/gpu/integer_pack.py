"""Constants in the memory order of the integer kernels. Channels beyond the last real one are zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.gpu import integer_ending as end
from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.integer_ending import Sum
from mdcompiler.backends.gpu.integer_instructions import SIGN
from mdcompiler.backends.kernels.requantize import ADD_BITS
from mdcompiler.quantization.fixed_point import fixed_point
from mdcompiler.quantization.steps import Port, Step

Array = NDArray[Any]
BYTE_BOUNDS = (0, 255)
"""What saturation does anyway."""
_LEAST_SHIFT = 2
"""What `integer_ending.rescale` needs a factor's right shift to be."""


def pad_to(values: Array, axis: int, multiple: int) -> Array:
    """`values` with zeros behind, so that `multiple` divides its length along `axis`."""
    missing = -values.shape[axis] % multiple
    return np.pad(values, [(0, missing if i == axis else 0) for i in range(values.ndim)])


def words(values: Array) -> Array:
    """[..., 4] integers from -128 to 255 -> [...] int32 words, the first in the lowest byte."""
    bytes_ = np.ascontiguousarray(values.astype(np.int64) & 0xFF).astype(np.uint8)
    return bytes_.view("<i4")[..., 0]


def pack_matrix(weight: Array, depth: int, outputs: int, picture: bool = False) -> Array:
    """[O, C, kh, kw] int8 values as words [O/outputs][k/depth][depth][outputs] of four input channels.

    k runs over taps and, within each, words of channels. depth: words of one stage. outputs: channels of one tile.
    picture: three channels and an unused one make a word.
    """
    channels = pad_to(weight, 1, LANES)
    if picture and channels.shape[1] != LANES:
        raise ValueError(f"a picture of {weight.shape[1]} channels; at most {LANES} make a word")
    count = len(weight)
    fours = channels.reshape(count, -1, LANES, *weight.shape[2:]).transpose(3, 4, 1, 0, 2)  # kh kw C/4 O 4
    reduced = words(fours).reshape(-1, count)
    padded = pad_to(pad_to(reduced, 0, depth), 1, outputs)
    tiles = padded.reshape(-1, depth, padded.shape[1] // outputs, outputs).transpose(2, 0, 1, 3)
    return np.ascontiguousarray(tiles)


def pack_window(weight: Array) -> Array:
    """[C, kh, kw] int8 values as [C/4][kh][kw][4] words, each with the weight of one channel in that channel's byte.

    A dot product of such a word with a word of activations is the product of that one channel.
    """
    taps = pad_to(weight, 0, LANES)
    taps = taps.reshape(-1, LANES, *weight.shape[1:]).transpose(0, 2, 3, 1)
    alone = taps[..., None] * np.eye(LANES, dtype=taps.dtype)
    return np.ascontiguousarray(words(alone))


def pack_quads(weight: Array, offsets: tuple[int, ...]) -> Array:
    """[C, kh, kw] int8 values as [C/4][kh][arrangement][4] words, each with taps of one channel (`integer_quads`)."""
    rows = pad_to(weight, 0, LANES)
    reach = weight.shape[2] + LANES
    padded = np.pad(rows, [(0, 0), (0, 0), (reach, reach)])
    moved = np.stack([padded[..., reach + offset : reach + offset + LANES] for offset in offsets], axis=2)
    fours = words(moved).reshape(-1, LANES, weight.shape[1], len(offsets))
    return np.ascontiguousarray(fours.transpose(0, 2, 3, 1))


def pack_dense(weight: Array) -> Array:
    """[O, C] int8 values as words [C/4][O rounded up to 4] of four input channels."""
    fours = pad_to(pad_to(weight, 1, LANES), 0, LANES)
    return np.ascontiguousarray(words(fours.reshape(len(fours), -1, LANES)).T)


def pack_constants(weight: Array, bias: Array, zero_point: int, real: Array, blocks: int = 1) -> Array:
    """What each output channel needs, [O/4][3 or, with `needs_raise`, 4][4] int32 (see `integer_ending`).

    weight: [O, …] integers, bias: [O], real: factors [O]. blocks: words of channels are rounded up to it. The sums
    start at bias - (zero_point - 128) * sum of the weights, so that borders must be filled with the zero point.
    """
    start = bias.astype(np.int64) - (zero_point - SIGN) * weight.reshape(len(weight), -1).astype(np.int64).sum(1)
    multiplier, right, left = factor_parts(real)
    parts = [start, multiplier, right, *([left] if needs_raise(real) else [])]
    padded = pad_to(np.stack(parts), 1, LANES * blocks)
    fours = padded.reshape(len(parts), -1, LANES).transpose(1, 0, 2)
    return np.ascontiguousarray(fours.astype(np.int32))


def needs_raise(real: Any) -> bool:
    """Whether some factor is 1/4 or more, so that its sums are shifted left first."""
    return bool(factor_parts(real)[2].any())


def factor_parts(real: Any) -> tuple[Array, Array, Array]:
    """Multiplier, right shift and left shift of real factors: see `integer_ending.rescale`."""
    factor = fixed_point(real)
    left = np.maximum(_LEAST_SHIFT + factor.shift, 0)
    return factor.multiplier, left - factor.shift - _LEAST_SHIFT, left


def border_word(zero_point: int) -> int:
    """Four times the zero point, top bits flipped, as an int32."""
    return int(words(np.full(LANES, zero_point - SIGN)))


def numbers_of(step: Step, zero_point: int = 0, other_zero: int = 0) -> Array:
    """The buffer of numbers with the zero point and bounds of the result and the zero points of the operands."""
    numbers = np.zeros(end.NUMBERS, np.int32)
    numbers[[end.SHIFTED_ZERO, end.LOW, end.HIGH]] = 2 * step.output.zero_point + 1, step.low, step.high
    numbers[[end.OWN_ZERO, end.OTHER_ZERO, end.BORDER]] = zero_point, other_zero, border_word(zero_point)
    return numbers


def fill_factor(numbers: Array, place: int, real: float) -> tuple[int, int, int]:
    """Write multiplier, right and left shift of factor `place` and return them."""
    multiplier, right, left = (int(part) for part in factor_parts(real))
    first = end.FACTORS + 3 * place
    numbers[first : first + 3] = multiplier, right, left
    return multiplier, right, left


def fill_sum(numbers: Array, step: Step, own: Port, other: Port) -> Sum:
    """Write what a sum needs (see `mdcompiler.quantization.rounding.rescale_sum`) and return its form."""
    result = step.output
    numbers[[end.SUM_SHIFTED_ZERO, end.SUM_LOW, end.SUM_HIGH]] = 2 * result.zero_point + 1, step.low, step.high
    numbers[[end.OWN_ZERO, end.OTHER_ZERO]] = own.zero_point, other.zero_point
    twice = 2.0 * max(own.scale, other.scale)
    own_half, other_half = (
        _fill_operand(numbers, place, port.scale / twice) for place, port in enumerate((own, other))
    )
    _, _, left = fill_factor(numbers, 2, twice / (2.0**ADD_BITS * result.scale))
    return Sum(own_half, other_half, raises=left > 0, clamp=(step.low, step.high) != BYTE_BOUNDS)


def _fill_operand(numbers: Array, place: int, real: float) -> bool:
    """One operand's factor, at most 1/2, whose left shift is joined with the bits gained; whether it is 1/2."""
    multiplier, _, left = fill_factor(numbers, place, real)
    is_half = multiplier == 1 << 30 and left == _LEAST_SHIFT
    numbers[end.FACTORS + 3 * place + 2] = ADD_BITS - 1 if is_half else ADD_BITS + left
    return is_half

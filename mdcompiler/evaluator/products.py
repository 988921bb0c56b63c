"""Products of matrices and convolutions that are exact sums of integers.

    x = 2^-a X + error      w[o] = 2^-b[o] W[o] + error      x w[o] = 2^-(a + b[o]) X W[o]

X and W are integers so small that every sum of their products is below 2^53: float64 holds each exactly, and whichever
order, fused or not, a BLAS adds them in, the result is the same. W has 22 bits of its row's largest value, X what is
left of 53, at least 18 for the longest rows met; float32 itself rounds to 24 bits of each value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Wide = NDArray[np.float64]
_BITS = 53
_WEIGHT_BITS = 22


class Weights:
    """A matrix [O,K] as integers in float64, and the powers of two [O] that they are to be multiplied with."""

    def __init__(self, matrix: Array) -> None:
        self.powers = _exponents(np.abs(matrix).max(axis=1, initial=0.0)) - _WEIGHT_BITS
        self.integers = np.rint(matrix * np.ldexp(1.0, -self.powers)[:, None])
        longest = float(np.abs(self.integers).sum(axis=1).max(initial=1.0))
        self.input_bits = _BITS - int(np.frexp(longest)[1])

    def multiply(self, columns: Wide, power: int) -> Wide:
        """The matrix times `columns` [K,P], integers of `integers_of` with their `power`."""
        total = self.integers @ columns
        total *= np.ldexp(1.0, self.powers + power)[:, None]
        return np.asarray(total)


def integers_of(values: Array, bits: int) -> tuple[Wide, int]:
    """`values` as integers of at most `bits` bits, in float64, and the power of two that they are in units of."""
    power = int(_exponents(np.maximum(values.max(initial=0.0), -values.min(initial=0.0)))) - bits
    integers = values * np.ldexp(1.0, -power)
    return np.rint(integers, out=integers), power


def matmul(left: Array, right: Array) -> Array:
    """left [M,K] @ right [K,N], rounded to float32 once."""
    weights = Weights(right.T)
    integers, power = integers_of(left, weights.input_bits)
    return np.asarray(weights.multiply(np.ascontiguousarray(integers.T), power).T.astype(np.float32))


def _exponents(largest: Array) -> NDArray[np.int64]:
    """The least e with |value| <= 2^e, 0 for 0."""
    fraction, exponent = np.frexp(np.asarray(largest, np.float64))
    return np.where(fraction == 0.0, 0, exponent).astype(np.int64)

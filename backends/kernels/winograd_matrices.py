"""The matrices of Winograd's minimal filtering F(m, 3), made from interpolation points.

Toom and Cook's construction as in A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural
Networks" (2016): a filter g of r taps over d gives m outputs A^T ((G g) * (B^T d)) with m + r - 1 products.
The points decide the rounding error; 1/2 and -2 after 0, 1, -1 err least for m = 4 (B. Barabasz et al.,
"Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2020).
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

TAPS = 3
_POINTS = {2: (0, 1, -1), 4: (0, 1, -1, Fraction(1, 2), -2)}
"""Outputs m -> the finite points; infinity is the last one."""

Matrix = tuple[tuple[Fraction, ...], ...]


class Transforms(NamedTuple):
    """source: B^T [m+2, m+2], weight: G [m+2, 3], target: A^T [m, m+2]."""

    source: Matrix
    weight: Matrix
    target: Matrix


@lru_cache
def transforms(outputs: int) -> Transforms:
    """The matrices of F(outputs, 3); outputs is 2 or 4."""
    points = [Fraction(point) for point in _POINTS[outputs]]
    size = outputs + TAPS - 1
    weight = [tuple(point**power / _spread(points, point) for power in range(TAPS)) for point in points]
    target = [(*(point**power for point in points), Fraction(power == outputs - 1)) for power in range(outputs)]
    source = [_padded(_product([other for other in points if other != point]), size) for point in points]
    last = (Fraction(0),) * (TAPS - 1) + (Fraction(1),)
    return Transforms((*source, _padded(_product(points), size)), (*weight, last), tuple(target))


def _spread(points: list[Fraction], point: Fraction) -> Fraction:
    """The product of the distances from `point` to all the others."""
    spread = Fraction(1)
    for other in points:
        if other != point:
            spread *= point - other
    return spread


def _product(roots: list[Fraction]) -> list[Fraction]:
    """Coefficients of the polynomial with these roots, lowest power first."""
    polynomial = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *polynomial]
        polynomial = [high - root * low for high, low in zip(shifted, [*polynomial, Fraction(0)], strict=True)]
    return polynomial


def _padded(polynomial: list[Fraction], size: int) -> tuple[Fraction, ...]:
    return (*polynomial, *[Fraction(0)] * (size - len(polynomial)))

"""All numeric tolerances of the toolkit, in one place.

float32: the largest difference, relative to the range of the expected output; more where a target keeps its numbers
in float16. Integers: exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT_TOLERANCE = 1e-4
"""Largest |got - want| over the range of `want` (at least 1e-6), for one float32 network."""

HALF_TOLERANCE = 1e-2
"""The same for a target that stores float16 and adds in float32: 11 bits a tensor, some fifty of them in a row."""

Array = NDArray[Any]


def tolerance_of(dtypes: Sequence[str]) -> float:
    """What float outputs of a target may differ by. dtypes: its numeric types, the first float one being the one that
    it stores."""
    stored = next((dtype for dtype in dtypes if dtype.startswith("float")), "float32")
    return HALF_TOLERANCE if stored == "float16" else FLOAT_TOLERANCE


def relative_difference(got: Array, want: Array) -> float:
    """Largest |got - want| over max(want) - min(want); inf where shapes differ or a NaN appears on one side."""
    if got.shape != want.shape or not np.array_equal(np.isnan(got), np.isnan(want)):
        return float("inf")
    if want.size == 0:
        return 0.0
    wide_got, wide_want = np.nan_to_num(got.astype(np.float64)), np.nan_to_num(want.astype(np.float64))
    span = float(wide_want.max() - wide_want.min()) or float(np.abs(wide_want).max())
    return float(np.abs(wide_got - wide_want).max()) / max(span, 1e-6)


def within_float_tolerance(got: Array, want: Array, tolerance: float = FLOAT_TOLERANCE) -> bool:
    """Whether `got` equals `want`: exactly for integers, within `tolerance` of the range for floats."""
    if got.dtype != want.dtype:
        return False
    if np.issubdtype(want.dtype, np.floating):
        return relative_difference(got, want) <= tolerance
    return bool(np.array_equal(got, want))


def describe_difference(got: Array, want: Array, tolerance: float = FLOAT_TOLERANCE) -> str:
    """The difference in words, for an error message."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
    relative = relative_difference(got, want)
    return f"largest difference {relative:.3g} of the output's range; allowed {tolerance:g}"

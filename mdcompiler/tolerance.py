"""All numeric tolerances of the toolkit, in one place.

A float network is judged by its own arithmetic. `Allowance` says how far an output may be from the same network in
float64: four times what unoptimised float32 is off, or 2e-5 of the output's range over all inputs of the check. The
first part lets a network be as ill-conditioned as it is; the second is for outputs whose few roundings happened to
cancel. Four, because kernels that sum in another order, in transformed tiles or with approximate curves draw other
roundings of the same size: a maximum of a few thousand such draws differs by a factor of two, Winograd's filtering
adds another. The share was calibrated on mobiledet-cpu and mobiledet-dsp: unoptimised float32 errs by 2e-7 to 2e-6 of
the range there, the cpu backend by 3e-7 to 5e-6, an error in one tap or one bias by more than 1e-3. Measured since, the
raw heads of the other two of the zoo, the three baselines and both shapes detectors on two noise pictures each:
float32 3.5e-7 to 2.1e-6, the cpu backend 5.5e-7 to 3.4e-6, 1.3 to 2.2 times as much.

Integers are exact. Where there is no float64 form, and for a single kernel against numpy, a fixed share of the range
holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOAT32_FACTOR = 4.0
"""How many times what unoptimised float32 errs a compiled network may err."""

RANGE_SHARE = 2e-5
"""What it may err in any case, as a share of the output's range over all inputs of the check."""

FLOAT_TOLERANCE = 1e-4
"""Largest |got - want| over the range of `want` where nothing tells what float32 errs: single kernels, the float ends
of integer networks, networks without a float64 form."""

HALF_TOLERANCE = 1e-2
"""The same for a target that stores float16 and adds in float32: 11 bits a tensor, some fifty of them in a row."""

_LEAST_SPAN = 1e-6
Array = NDArray[Any]


@dataclass(frozen=True)
class Allowance:
    """What one float output may differ by.

    limit: of |got - want|; span: the output's range over all inputs; float32: what unoptimised float32 errs, 0 where
    that is less than the limit's share of the range or unknown.
    """

    limit: float
    span: float
    float32: float = 0.0

    @classmethod
    def measured(cls, span: float, float32: float | None) -> Allowance:
        """From the range over all inputs and the error of unoptimised float32; None where that is unknown.

        Rounded to two digits: the last ones depend on the processor that the check was made on.
        """
        span = max(span, _LEAST_SPAN)
        if float32 is None:
            return cls(_rounded_up(FLOAT_TOLERANCE * span), _rounded_up(span))
        if FLOAT32_FACTOR * float32 <= RANGE_SHARE * span:
            return cls(_rounded_up(RANGE_SHARE * span), _rounded_up(span))
        rounded = _rounded_up(float32)
        return cls(FLOAT32_FACTOR * rounded, _rounded_up(span), rounded)

    def at_least(self, share: float) -> Allowance:
        """The same, but no less than `share` of the range: for targets that store less than float32."""
        return Allowance(max(self.limit, share * self.span), self.span, self.float32)

    def fault(self, got: Array, want: Array) -> str | None:
        """What is wrong with `got` in words; None when it is within the limit."""
        error = largest_error(got, want)
        if error <= self.limit:
            return None
        if got.shape != want.shape:
            return f"shape {list(got.shape)} instead of {list(want.shape)}"
        own = f"{self.float32:.2g}" if self.float32 else f"less than {self.limit / FLOAT32_FACTOR:.2g}"
        what = f"is off by {error:.3g}" if math.isfinite(error) else "has other NaN or infinities"
        return (
            f"{what}; unoptimised float32 is off by {own} from the same network in float64, allowed {self.limit:.2g} "
            f"(range {self.span:.2g})"
        )


def _rounded_up(value: float) -> float:
    """`value` with two digits."""
    if value <= 0:
        return 0.0
    digit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / digit - 1e-6) * digit:.1e}")


def tolerance_of(dtypes: Sequence[str]) -> float:
    """What float outputs of a target may differ by as a share of their range, whatever float32 errs.

    dtypes: its numeric types, the first float one being the one that it stores.
    """
    stored = next((dtype for dtype in dtypes if dtype.startswith("float")), "float32")
    return HALF_TOLERANCE if stored == "float16" else FLOAT_TOLERANCE


def stored_share(dtypes: Sequence[str]) -> float:
    """The share of the range that what a target stores allows beyond its arithmetic: 0 for float32."""
    share = tolerance_of(dtypes)
    return share if share > FLOAT_TOLERANCE else 0.0


def largest_error(got: Array, want: Array) -> float:
    """Largest |got - want|; inf where shapes differ, or a NaN or an infinity appears on one side."""
    if got.shape != want.shape:
        return float("inf")
    left, right = got.astype(np.float64), want.astype(np.float64)
    odd = ~(np.isfinite(left) & np.isfinite(right))
    if odd.any() and not np.array_equal(left[odd], right[odd], equal_nan=True):
        return float("inf")
    return float(np.abs(left[~odd] - right[~odd]).max(initial=0.0))


def span_of(values: Array) -> float:
    """Largest less smallest finite value; where all are equal, how large they are."""
    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return 0.0
    return float(finite.max() - finite.min()) or float(np.abs(finite).max())


def relative_difference(got: Array, want: Array) -> float:
    """Largest |got - want| over the range of `want`; inf where shapes differ or a NaN or an infinity is on one side."""
    return largest_error(got, want) / max(span_of(want), _LEAST_SPAN)


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

"""Whether outputs are the reference's: ours must be, those of others are described.

fp32 within the measure that compilations are held to: the same network in float64, beside what unoptimised float32
errs. int8: ours equal the integer reference bit for bit; other runtimes round and
sum in an order of their own, so their difference is stated (one step of 8 bits is 0.4 % of a range).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.tolerance import describe_difference, relative_difference
from tests.benchmarks.subjects import Arrays, Subject

WRONG = "WRONG"
"""Ends the description of float outputs beyond the tolerance."""


def check_ours(subject: Subject, outputs: Arrays) -> None:
    """Raises SystemExit unless `outputs` are the reference's."""
    for name, want in subject.expected.items():
        fault = _fault(subject, name, outputs[name], want)
        if fault:
            sys.exit(f"{subject.network} {subject.precision}: {name} is wrong: {fault}")


def describe(subject: Subject, outputs: Arrays) -> str:
    """The largest difference over all outputs, in words short enough for a table."""
    pairs = [(name, outputs[name], want) for name, want in subject.expected.items()]
    if all(np.array_equal(got, want) for _, got, want in pairs):
        return "equal"
    worst = max(relative_difference(got, want) for _, got, want in pairs)
    if subject.precision == "int8":
        share = sum(int((got != want).sum()) for _, got, want in pairs) / sum(want.size for _, _, want in pairs)
        return f"{share:.1%} of values, at most {worst:.1%} of the range"
    verdict = f" {WRONG}" if any(_fault(subject, *pair) for pair in pairs) else ""
    return f"{worst:.1e} of the range{verdict}"


def _fault(subject: Subject, name: str, got: NDArray[Any], want: NDArray[Any]) -> str | None:
    """What is wrong with one output; None when nothing is."""
    if name in subject.allowed:
        return subject.allowed[name].fault(got, want)
    return None if np.array_equal(got, want) else describe_difference(got, want)

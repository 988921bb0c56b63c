"""Whether outputs are the reference's: ours must be, those of others are described.

fp32 within the toolkit's tolerance. int8: ours equal the integer reference bit for bit; other runtimes round and
sum in an order of their own, so their difference is stated (one step of 8 bits is 0.4 % of a range).
"""

from __future__ import annotations

import sys

import numpy as np

from mdcompiler.tolerance import describe_difference, relative_difference, within_float_tolerance
from tests.benchmarks.subjects import Arrays, Subject

WRONG = "WRONG"
"""Ends the description of float outputs beyond the tolerance."""


def check_ours(subject: Subject, outputs: Arrays) -> None:
    """Raises SystemExit unless `outputs` are the reference's."""
    exact = subject.precision == "int8"
    for name, want in subject.expected.items():
        got = outputs[name]
        if not (np.array_equal(got, want) if exact else within_float_tolerance(got, want)):
            sys.exit(f"{subject.network} {subject.precision}: {name} is wrong: {describe_difference(got, want)}")


def describe(subject: Subject, outputs: Arrays) -> str:
    """The largest difference over all outputs, in words short enough for a table."""
    pairs = [(name, outputs[name], want) for name, want in subject.expected.items()]
    if all(np.array_equal(got, want) for _, got, want in pairs):
        return "equal"
    worst = max(relative_difference(got, want) for _, got, want in pairs)
    if subject.precision == "int8":
        share = sum(int((got != want).sum()) for _, got, want in pairs) / sum(want.size for _, _, want in pairs)
        return f"{share:.1%} of values, at most {worst:.1%} of the range"
    verdict = "" if all(within_float_tolerance(got, want) for _, got, want in pairs) else f" {WRONG}"
    return f"{worst:.1e} of the range{verdict}"

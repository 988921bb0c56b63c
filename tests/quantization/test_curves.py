"""Tables hold the exact values of their functions, and TFLite's LOGISTIC what LiteRT says, on whatever machine."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.activation import Activation
from mdcompiler.errors import InternalError
from mdcompiler.quantization.curves import table
from mdcompiler.quantization.scheme import Rounding
from mdcompiler.quantization.steps import Port, Step
from mdcompiler.weights.quantization import Quantization

UNIT = Quantization((1 / 256,), (0,), "uint8")


def table_step(kind: str, source: Quantization, result: Quantization = UNIT, **numbers: float) -> Step:
    ends = Port("x", (1, 256), source), Port("y", (1, 256), result)
    return Step("table", "bend", ends[:1], ends[1], 0, 255, activation=Activation(kind, (), **numbers))


def nearest_sigmoid(value: Fraction) -> int:
    """sigmoid(value) in steps of 1/256 by a power series of fractions: another way than the table's."""
    size = abs(value)
    halvings = max(0, math.ceil(math.log2(float(size) + 1)) + 3)
    small, term, total = size / 2**halvings, Fraction(1), Fraction(1)
    for count in range(1, 24):
        term *= small / count
        total += term
    grown = Fraction(round(total * 2**200), 2**200)
    for _ in range(halvings):
        grown = Fraction(round(grown * grown * 2**200), 2**200)
    share = grown / (1 + grown)
    return round((share if value >= 0 else 1 - share) * 256)


@pytest.mark.parametrize("seed", range(4))
def test_a_sigmoid_is_the_exact_value_rounded(seed: int) -> None:
    random = np.random.default_rng(seed)
    scale, zero = float(np.float32(random.uniform(0.01, 0.1))), int(random.integers(0, 256))
    entries = table(table_step("sigmoid", Quantization((scale,), (zero,), "uint8")), "float-half-even")
    exact = [nearest_sigmoid((index - zero) * Fraction(scale)) for index in range(256)]
    assert entries.tolist() == [min(item, 255) for item in exact]


def test_ties_go_to_the_even_step() -> None:
    """x / 6 + 1/2 is no float64 number, the product with x is a tie all the same: 3 = 1.5 steps of 2."""
    source, result = Quantization((1.0,), (128,), "uint8"), Quantization((2.0,), (10,), "uint8")
    entries = table(table_step("hard_swish", source, result), "float-half-even")
    assert [int(entries[128 + x]) - 10 for x in (3, 5, 7, 9)] == [2, 2, 4, 4]


def test_the_slope_of_a_hard_sigmoid_is_exact_at_a_tie() -> None:
    source, result = Quantization((1.0,), (0,), "uint8"), Quantization((0.5,), (0,), "uint8")
    entries = table(table_step("hard_sigmoid", source, result, alpha=0.25, beta=0.25), "float-half-even")
    assert entries[:4].tolist() == [0, 1, 2, 2]  # 0.25, 0.5, 0.75, 1.0 in steps of a half: the first and third are ties


@pytest.mark.parametrize("rounding", get_args(Rounding))
def test_sixteen_bits_have_an_entry_each(rounding: Rounding) -> None:
    source, result = Quantization((2.0**-12,), (0,), "int16"), Quantization((2.0**-15,), (0,), "int16")
    entries: NDArray[Any] = table(table_step("sigmoid", source, result), rounding)
    assert entries.shape == (1 << 16,)
    assert entries[1 << 15] == 1 << 14
    assert np.all(np.diff(entries.astype(np.int64)) >= 0)


def test_a_table_cannot_be_written_to() -> None:
    entries = table(table_step("relu", Quantization((0.1,), (3,), "uint8")), "float-half-even")
    with pytest.raises(ValueError, match="read-only"):
        entries[0] = 1


def test_an_invented_curve_is_an_error() -> None:
    with pytest.raises(InternalError, match="'softer_swish'"):
        table(table_step("softer_swish", Quantization((0.1,), (3,), "uint8")), "float-half-even")

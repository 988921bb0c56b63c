"""The search for the cheapest precision, on costs written by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.accuracy import Accuracy, Fault, Judgement, Sensitivity, by_worth, cheapest
from mdcompiler.accuracy.cheapest import Measure
from mdcompiler.quantization.scheme import Precision

BLOCKS = [f"C1/b{index}.ibn" for index in range(8)]
SHARE = dict.fromkeys(BLOCKS, 1 / 8)
LEFT: dict[Precision, float] = {"int8": 1.0, "int16": 0.25, "float": 0.0}


def spoiled(noise: Mapping[str, float], limit: float, calls: list[dict[str, Precision]]) -> Measure:
    """Noise adds up; 16 bits leave a quarter of a block's, float none. Past `limit` is a fault."""

    def measure(precision: Mapping[str, Precision]) -> Judgement:
        calls.append(dict(precision))
        total = sum(value * LEFT[precision.get(block, "int8")] for block, value in noise.items())
        fault = Fault("", "noise", total, limit, "Do something.")
        return Judgement(Accuracy(1, {"end": -total}), (fault,) if total > limit else ())

    return measure


def test_nothing_leaves_int8_while_the_limits_hold() -> None:
    calls: list[dict[str, Precision]] = []
    choice = cheapest(spoiled(dict.fromkeys(BLOCKS, 1.0), 8.0, calls), BLOCKS, ("float",), SHARE)
    assert choice.precision == {}
    assert len(calls) == 1


def test_the_block_at_fault_alone_leaves_int8_and_16_bits_come_first() -> None:
    noise = {**dict.fromkeys(BLOCKS, 1.0), BLOCKS[3]: 100.0}
    order = [BLOCKS[3], *(block for block in BLOCKS if block != BLOCKS[3])]
    assert cheapest(spoiled(noise, 40.0, []), order, ("int16", "float"), SHARE).precision == {BLOCKS[3]: "int16"}
    assert cheapest(spoiled(noise, 10.0, []), order, ("int16", "float"), SHARE).precision == {BLOCKS[3]: "float"}
    assert cheapest(spoiled(noise, 10.0, []), order, ("float",), SHARE).share == pytest.approx(1 / 8)


def test_a_budget_that_is_too_small_leaves_the_faults() -> None:
    noise = {**dict.fromkeys(BLOCKS, 1.0), BLOCKS[3]: 100.0}
    share = {**SHARE, BLOCKS[3]: 0.5}
    choice = cheapest(spoiled(noise, 10.0, []), BLOCKS, ("float",), share, budget=0.4)
    assert choice.judgement.faults
    assert BLOCKS[3] not in choice.precision


def test_worth_is_noise_for_work() -> None:
    rows = [Sensitivity(block, snr, None, None, None) for block, snr in (("big", 20.0), ("small", 25.0))]
    assert by_worth(rows, {"big": 0.9, "small": 0.05}) == ["small", "big"]
    assert by_worth(rows, {"big": 0.001, "small": 0.0}) == ["big", "small"], "tiny blocks count alike"


@given(st.lists(st.floats(0, 10), min_size=8, max_size=8), st.floats(0, 60), st.floats(0, 1))
def test_what_is_found_keeps_limit_and_budget_by_few_measurements(
    values: list[float], limit: float, budget: float
) -> None:
    noise = dict(zip(BLOCKS, values, strict=True))
    order = sorted(BLOCKS, key=lambda block: -noise[block])
    calls: list[dict[str, Precision]] = []
    choice = cheapest(spoiled(noise, limit, calls), order, ("int16", "float"), SHARE, budget)
    assert choice.share <= budget + 1e-9
    assert len(calls) <= 3 + 3 + 8
    if not choice.judgement.faults:
        assert sum(value * LEFT[choice.precision.get(block, "int8")] for block, value in noise.items()) <= limit

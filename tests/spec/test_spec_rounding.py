"""Channel rounding: both published rules, and what the width multiplier does to a network."""

from __future__ import annotations

import pytest

from mdcompiler.spec import build_network, count, load_spec
from mdcompiler.spec.rounding import Rounding

HALF_UP = Rounding(rule="half-up")
DIVISIBLE = Rounding(rule="make-divisible", minimum=16)


@pytest.mark.parametrize(
    ("channels", "ratio", "half_up", "divisible"),
    [
        (72, 0.25, 16, 24),  # 18: down by more than a tenth, which make-divisible refuses
        (96, 0.25, 24, 24),
        (40, 0.3, 16, 16),  # 12: exact halves go up
        (8, 0.25, 8, 8),  # never below one divisor
        (80, 2.3, 184, 184),
    ],
)
def test_inner_channels(channels: int, ratio: float, half_up: int, divisible: int) -> None:
    assert HALF_UP.inner(channels, ratio) == half_up
    assert DIVISIBLE.inner(channels, ratio) == divisible


def test_width_keeps_the_minimum_and_one_changes_nothing() -> None:
    assert HALF_UP.width(16, 0.25) == 8
    assert DIVISIBLE.width(24, 0.25) == 16
    assert HALF_UP.width(20, 1.0) == 20


def test_half_width_of_mobiledet() -> None:
    spec = load_spec("mobiledet-cpu").with_(width=0.5)
    network = build_network(spec)
    assert [block.output.channels for block in network.backbone][-6:] == [40, 56, 56, 56, 56, 72]
    assert [block.output.channels for block in network.extra] == [256, 128, 128, 64]
    assert count(spec).macs < count(load_spec("mobiledet-cpu")).macs / 2


def test_extra_layers_keep_sixteen_channels() -> None:
    network = build_network(load_spec("mobiledet-cpu").with_(width=0.05))
    assert [block.output.channels for block in network.extra] == [25, 16, 16, 16]

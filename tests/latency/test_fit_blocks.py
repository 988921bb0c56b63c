"""Blocks that were not measured, predicted from those that were."""

from __future__ import annotations

import numpy as np
import pytest

from mdcompiler.latency.fit_blocks import FEWEST, fit_blocks
from mdcompiler.latency.space_blocks import spec_blocks
from mdcompiler.latency.work import works_of
from mdcompiler.spec import load_spec
from mdcompiler.spec.network import PlacedBlock
from mdcompiler.target import find_target

BLOCKS = spec_blocks(load_spec("mobiledet-dsp"))
TARGET = find_target("x86-64-v3")


def machine(block: PlacedBlock) -> float:
    """Microseconds on a machine that is just so: depthwise convolutions at a third of the speed."""
    works = [work for step in block.steps for work in works_of(step)]
    macs = sum(work.macs * (3 if work.kind == "depthwise" else 1) for work in works)
    return macs / 40_000 + sum(work.elements + work.weights for work in works) * 4 / 20_000 + len(works) * 0.5


def test_what_the_model_can_say_is_found() -> None:
    """From every second block the others follow."""
    measured = {key: machine(block) for key, block in list(BLOCKS.items())[::2]}
    model = fit_blocks(BLOCKS, measured, TARGET, "fp32")
    assert model is not None
    assert model.error < 0.03
    others = [block for key, block in BLOCKS.items() if key not in measured]
    assert max(abs(model.latency_us(block) / machine(block) - 1) for block in others) < 0.05


def test_the_error_is_of_blocks_that_were_held_out() -> None:
    """Where the model is wrong it says so."""
    random = np.random.default_rng(0)
    noisy = {key: machine(block) * float(random.choice([0.5, 2.0])) for key, block in BLOCKS.items()}
    model = fit_blocks(BLOCKS, noisy, TARGET, "fp32")
    assert model is not None
    assert 0.3 < model.error < 2


@pytest.mark.parametrize("odd", [{}, {"elsewhere": 1.0}, {next(iter(BLOCKS)): 0.0}])
def test_too_few_measurements_give_no_model(odd: dict[str, float]) -> None:
    few = {key: machine(block) for key, block in list(BLOCKS.items())[1:FEWEST]}
    assert fit_blocks(BLOCKS, {**few, **odd}, TARGET, "fp32") is None
    one_more = list(BLOCKS.items())[FEWEST]
    assert fit_blocks(BLOCKS, {**few, **odd, one_more[0]: machine(one_more[1])}, TARGET, "fp32") is not None

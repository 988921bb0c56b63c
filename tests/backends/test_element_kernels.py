"""Kernels over single elements: sizes around whole tasks and whole vectors, and not a byte beyond."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.backends.kernels.activation import Curve
from mdcompiler.backends.kernels.channelwise import FLAT_CHUNK, flat_tasks
from mdcompiler.backends.kernels.requantize import HIGH, NUMBERS, OTHER_ZERO, OWN_ZERO, SUM_HIGH
from mdcompiler.backends.kernels.sources import ChannelwiseSource
from mdcompiler.target import find_target
from tests.backends.kernel_runner import Kernels, aligned

Array = NDArray[Any]
TARGET = find_target("cpu")
LANES = TARGET.lanes
PERMUTES = "avx512vbmi" in TARGET.cpu_flags
SIZES = (1, 15, 63, 64, 1023, 1024, 1025, 1039, 1040, 1087, 2047, 2048, 2049, 2111)
BEYOND = 2 * FLAT_CHUNK
RANDOM = np.random.default_rng(0)
FLOATS = RANDOM.normal(0, 50, max(SIZES) + BEYOND).astype(np.float32)
BYTES = RANDOM.integers(0, 256, max(SIZES) + BEYOND).astype(np.uint8)
TABLE = RANDOM.permutation(256).astype(np.uint8)
NUMBERS_OF = np.zeros(NUMBERS, np.int32)
NUMBERS_OF[[HIGH, SUM_HIGH, OWN_ZERO, OTHER_ZERO]] = 255, 255, 3, 5

KERNELS: dict[str, tuple[Any, Sequence[Array], Array]] = {
    "activation": (lambda size: (size, LANES, Curve("clip", low=0.0)), [FLOATS], np.maximum(FLOATS, 0)),
    "add": (lambda size: (size, LANES, Curve()), [FLOATS, FLOATS[::-1].copy()], FLOATS + FLOATS[::-1]),
    "add_int8": (
        lambda size: (size, LANES, "float-half-even"),
        [BYTES, BYTES[::-1].copy(), NUMBERS_OF, np.array([0.5, 0.25], np.float32)],
        np.clip(np.rint((BYTES - 3.0) * 0.5 + (BYTES[::-1] - 5.0) * 0.25), 0, 255).astype(np.uint8),
    ),
    "preprocess": (lambda size: (size, 2.0, -1.0, LANES), [BYTES], BYTES * np.float32(2) - np.float32(1)),
    "quantize": (
        lambda size: (size, LANES),
        [FLOATS, np.ones(1, np.float32), NUMBERS_OF],
        np.clip(np.rint(FLOATS), 0, 255).astype(np.uint8),
    ),
    "dequantize": (
        lambda size: (size, LANES, "x86"),
        [BYTES, np.ones(1, np.float32), NUMBERS_OF],
        BYTES.astype(np.float32) - 3,
    ),
    "table": (lambda size: (size, PERMUTES, "x86"), [BYTES, TABLE], TABLE[BYTES]),
}
"""Template -> its arguments for a size, what it reads (elements beyond the size included), the right result."""


@pytest.mark.parametrize("template", KERNELS)
def test_every_element_once_and_nothing_beyond(template: str, tmp_path: Path) -> None:
    arguments, reads, expected = KERNELS[template]
    sources = {size: ChannelwiseSource(template, arguments(size)) for size in SIZES}
    kernels = Kernels(tmp_path, TARGET, list(sources.values()))
    untouched = np.full(expected.shape, 77, expected.dtype)
    for size, source in sources.items():
        got = aligned(untouched)
        kernels.run(source, [*map(aligned, reads), got], 0, flat_tasks(size))
        np.testing.assert_array_equal(got[:size], expected[:size], f"{template} of {size} elements")
        np.testing.assert_array_equal(got[size:], untouched[size:], f"beyond {size} elements of {template}")

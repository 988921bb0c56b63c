"""Seeded arrays to run a network on when only its numbers matter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def sample(generator: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """One array: bytes over their whole range, wider integers from -128 to 255, floats from [-1, 1]."""
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        low, high = max(int(info.min), -128), min(int(info.max), 255)
        return generator.integers(low, high, shape, dtype=dtype, endpoint=True)
    if dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(dtype)
    return generator.uniform(-1, 1, shape).astype(dtype)

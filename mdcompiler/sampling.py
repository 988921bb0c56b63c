"""The inputs that networks are checked, measured and timed with: seeded, within the operators' domain, like real ones.

A tensor that has rows and columns is a picture or a feature map: it gets smooth shapes with some grain, because
networks answer white noise with outputs that span next to nothing. Every other input is white noise all the same: it
has every value in every place. What an operator defines (`mdcompiler.input_domain`) bounds all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backend import input_specs
from mdcompiler.manifest import TensorSpec

if TYPE_CHECKING:
    from mdcompiler.module import Module

Array = NDArray[Any]
_LEAST_ROWS = 8
_MOST_COLOURS = 4
_NOISE_EVERY = 2
_SCALES = ((3, 1.0), (9, 0.5), (27, 0.25))
"""Control points along each axis -> weight: what is twice as fine is half as strong, as in photographs."""
_GRAIN = 0.1


def sample_inputs(module: Module, seed: int = 0) -> dict[str, Array]:
    """One seeded array for every input of `module`."""
    return seeded_inputs([TensorSpec.model_validate(item) for item in input_specs(module)], seed)


def seeded_inputs(inputs: Sequence[TensorSpec], seed: int = 0) -> dict[str, Array]:
    """One array for every input; the same seed gives the same bytes on every machine."""
    generator = np.random.default_rng(seed)
    return {item.name: _draw(generator, item, seed) for item in inputs}


def _draw(generator: np.random.Generator, item: TensorSpec, seed: int) -> Array:
    dtype, shape = np.dtype(item.dtype), tuple(item.shape)
    if dtype == np.bool_:
        return generator.integers(0, 2, shape).astype(dtype)
    low, high = _bounds(item, dtype)
    picture = _picture_axes(shape) if (seed + 1) % _NOISE_EVERY else None
    if picture is None:
        if np.issubdtype(dtype, np.integer):
            return generator.integers(int(low), int(high), shape, dtype=dtype, endpoint=True)
        return generator.uniform(low, high, shape).astype(dtype)
    values = low + _smooth(generator, shape, picture) * (high - low)
    return np.rint(values).astype(dtype) if np.issubdtype(dtype, np.integer) else values.astype(dtype)


def _bounds(item: TensorSpec, dtype: np.dtype[Any]) -> tuple[float, float]:
    """What the values lie between: bytes over their whole range, wider integers from -128 to 255, floats in [-1, 1]."""
    low, high = -1.0, 1.0
    if np.issubdtype(dtype, np.integer):
        info = np.iinfo(dtype)
        low, high = max(int(info.min), -128), min(int(info.max), 255)
    if item.low is not None and item.high is not None:
        bounded = np.issubdtype(dtype, np.integer)
        return (max(item.low, info.min), min(item.high, info.max)) if bounded else (item.low, item.high)
    return low, high


def _picture_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The axes of rows and columns; None where there are none."""
    if len(shape) < 3:
        return None
    last = len(shape) - 1
    axes = (last - 2, last - 1) if shape[-1] <= _MOST_COLOURS and len(shape) == 4 else (last - 1, last)
    return axes if min(shape[axis] for axis in axes) >= _LEAST_ROWS else None


def _smooth(generator: np.random.Generator, shape: tuple[int, ...], axes: tuple[int, int]) -> Array:
    """Values in [0, 1]: random shapes of three sizes, stretched to the whole range, and grain."""
    total = np.zeros(shape)
    for points, weight in _SCALES:
        coarse = generator.uniform(0, 1, [points if axis in axes else extent for axis, extent in enumerate(shape)])
        for axis in axes:
            coarse = _stretched(coarse, axis, shape[axis])
        total += weight * coarse
    low, high = float(total.min()), float(total.max())
    total = (total - low) / (high - low) * (1 - _GRAIN) + _GRAIN * generator.uniform(0, 1, shape)
    return np.clip(total, 0, 1)


def _stretched(values: Array, axis: int, extent: int) -> Array:
    """Linear interpolation along one axis."""
    place = np.linspace(0, values.shape[axis] - 1, extent)
    below = np.minimum(place.astype(np.int64), values.shape[axis] - 2)
    share = (place - below).reshape([-1 if index == axis else 1 for index in range(values.ndim)])
    return np.asarray(np.take(values, below, axis) * (1 - share) + np.take(values, below + 1, axis) * share)

"""What shapes and ground are covered with: colours in 0..255 as float32 [height, width, 3]."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]


def ground_texture(rng: np.random.Generator, size: int) -> Floats:
    """Clouds of two or three colours, [size, size, 3]; a third of the grounds also have a pattern."""
    cells = int(rng.integers(2, 9))
    colours = rng.uniform(20, 235, 3) + rng.uniform(-60, 60, (cells, cells, 3)) * rng.uniform(0.2, 1.0)
    small = Image.fromarray(np.clip(colours, 0, 255).astype(np.uint8))
    ground = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), np.float32)
    if rng.uniform() < 0.35:
        return ground + _pattern(rng, (size, size), size)[..., None] * np.float32(rng.uniform(8, 35))
    return ground.copy()


def fill_texture(rng: np.random.Generator, shape: tuple[int, int], size: int, under: Floats) -> Floats:
    """The cover of a shape in a window of `shape` pixels, [height, width, 3]; a quarter nearly match `under` [3]."""
    colour = rng.uniform(0, 255, 3)
    if rng.uniform() < 0.25:
        colour = under + rng.uniform(25, 60) * _direction(rng)
    cover = np.broadcast_to(colour.astype(np.float32), (*shape, 3))
    if rng.uniform() < 0.55:
        strength = np.float32(rng.uniform(10, 70)) * _direction(rng).astype(np.float32)
        return cover + _pattern(rng, shape, size)[..., None] * strength
    return cover


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    """A change of colour of about unit strength, [3]."""
    change = rng.uniform(-1, 1, 3)
    return change / max(float(np.abs(change).max()), 1e-3)


def _pattern(rng: np.random.Generator, shape: tuple[int, int], size: int) -> Floats:
    """Stripes, checks, a slope or grain in -1..1, [height, width]; `size` is the whole picture's side."""
    kind = int(rng.integers(4))
    angle, period, phase = rng.uniform(0, np.pi), rng.uniform(0.03, 0.15) * size, rng.uniform(0, 6)
    if kind == 3:
        return rng.standard_normal(shape, np.float32) * np.float32(0.5)
    ys, xs = np.ogrid[0 : shape[0], 0 : shape[1]]
    across = ((xs * np.cos(angle) + ys * np.sin(angle)) * (2 * np.pi / period) + phase).astype(np.float32)
    if kind == 0:
        stripes: Floats = np.sin(across)
        return stripes
    if kind == 1:
        along = ((ys * np.cos(angle) - xs * np.sin(angle)) * (2 * np.pi / period)).astype(np.float32)
        checks: Floats = np.sign(np.sin(across) * np.sin(along))
        return checks
    slope: Floats = across / np.float32(2 * np.pi * max(shape) / period) * 2 - 1
    return slope

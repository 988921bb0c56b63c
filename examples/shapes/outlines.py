"""Outlines of the classes, and of things that are none: polygons around (0, 0) with radius about 1.

An outline is a list of rings, each float [n, 2] (x, y): the first is filled, the others are holes in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring", "pentagon", "crescent")

Ring = NDArray[np.float32]
_ROUND = 40


def class_outline(rng: np.random.Generator, index: int) -> list[Ring]:
    """An outline of class `index`; thickness of strokes and the like vary with `rng`."""
    name = CLASSES[index]
    thickness = float(rng.uniform(0.0, 1.0))
    if name == "star":
        return [_star(0.36 + 0.14 * thickness)]
    if name == "cross":
        return [_cross(0.26 + 0.16 * thickness)]
    if name == "ring":
        return [_regular(_ROUND), _regular(_ROUND) * np.float32(0.7 - 0.25 * thickness)]
    if name == "crescent":
        return [_crescent(0.45 + 0.25 * thickness)]
    return [_regular({"circle": _ROUND, "square": 4, "triangle": 3, "pentagon": 5}[name])]


def distractor_outline(rng: np.random.Generator) -> list[Ring]:
    """Something that is no class: a blob, a hollow polygon, a stroke."""
    kind = int(rng.integers(3))
    if kind == 0:
        corners = int(rng.integers(5, 10))
        return [_regular(corners) * rng.uniform(0.35, 1.0, (corners, 1)).astype(np.float32)]
    if kind == 1:
        polygon = _regular(int(rng.integers(3, 7)))
        return [polygon, polygon * np.float32(rng.uniform(0.6, 0.85))]
    return [_regular(4) @ np.diag([1.2, rng.uniform(0.04, 0.12)]).astype(np.float32)]


def _regular(sides: int) -> Ring:
    """A regular polygon with a flat base; a square's sides are upright."""
    angles = np.arange(sides) * (2 * np.pi / sides) + np.pi / 2 + np.pi / sides
    return _points(np.cos(angles), np.sin(angles))


def _star(inner: float) -> Ring:
    angles = np.arange(10) * (np.pi / 5) - np.pi / 2
    radii = np.where(np.arange(10) % 2 == 0, 1.0, inner)
    return _points(radii * np.cos(angles), radii * np.sin(angles))


def _cross(arm: float) -> Ring:
    corner = np.array([[arm, arm], [arm, 1.0], [-arm, 1.0]])
    quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([corner @ np.linalg.matrix_power(quarter, turn) for turn in range(4)]).astype(np.float32)


def _crescent(bite: float) -> Ring:
    """A disc without a second disc of the same size that lies `bite` to its right: outer arc, then inner arc."""
    open_angle = np.arccos(bite / 2)
    outer = np.linspace(open_angle, 2 * np.pi - open_angle, _ROUND)
    inner = np.linspace(np.pi + open_angle, np.pi - open_angle, _ROUND // 2)
    xs = np.concatenate([np.cos(outer), bite + np.cos(inner)])
    ys = np.concatenate([np.sin(outer), np.sin(inner)])
    return _points(xs + (1 - bite) / 2, ys)


def _points(xs: NDArray[np.float64], ys: NDArray[np.float64]) -> Ring:
    return np.stack([xs, ys], axis=1).astype(np.float32)

"""Seeded weights: a network without training, the same on every machine.

Every tensor draws from a stream of its own, PCG64 seeded by SHA-256 of the seed and the tensor's name, so
that neither the order of the tensors nor a change elsewhere in the network moves its values. Only raw
64-bit draws and exact float operations are used: NumPy keeps those streams stable between releases, its
normal distribution it does not (NEP 19).

Scales keep the second moment of the activations near one through any number of blocks: He et al. 2015
(arXiv 1502.01852, gain 2 over the fan-in) before an activation, and gain 1/2 for the linear projections, since
four blocks with three residual additions then multiply it by 0.5 * 1.5**3 = 1.7 and not by 8.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from math import prod, sqrt

import numpy as np
from numpy.typing import NDArray

Weights = dict[str, NDArray[np.float32]]
Shapes = Mapping[str, tuple[int, ...]]

_HE_GAIN = 2.0
_LINEAR_GAIN = 0.5
_HEAD_GAIN = 1.0
_RANGES = {
    "gamma": (0.8, 1.2),
    "beta": (-0.2, 0.2),
    "mean": (-0.2, 0.2),
    "variance": (0.8, 1.25),
    "bias": (-0.5, 0.5),
}
_GATE_BIAS = (1.0, 3.0)
"""Bias before a squeeze-excite gate: the gate stays near 0.9 and does not shrink every block by half."""


def seeded_weights(shapes: Shapes, seed: int = 0) -> Weights:
    """float32 tensors of `shapes` (name -> shape, convolutions OIHW) that depend on `seed` and the names alone."""
    return {name: _tensor(name, tuple(shape), seed) for name, shape in shapes.items()}


def _tensor(name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    low, high = _range(name, shape)
    unit = _uniform(name, prod(shape), seed)
    return (np.float32(low) + np.float32(high - low) * unit).reshape(shape)


def _range(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    path, _, leaf = name.rpartition("/")
    if leaf == "bias" and path.endswith("/se/expand"):
        return _GATE_BIAS
    if leaf in _RANGES:
        return _RANGES[leaf]
    fan_in = max(1, prod(shape[1:]))
    # a uniform distribution over [-b, b] has the variance b**2 / 3
    bound = sqrt(3.0 * _gain(path) / fan_in)
    return -bound, bound


def _gain(path: str) -> float:
    if path.startswith("head/") and path.endswith("/pw"):
        return _HEAD_GAIN
    return _LINEAR_GAIN if path.endswith("/project") else _HE_GAIN


def _uniform(name: str, count: int, seed: int) -> NDArray[np.float32]:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    raw = np.random.PCG64(int.from_bytes(digest[:16], "little")).random_raw(count)
    # 24 bits: exactly what a float32 holds
    return (np.asarray(raw, np.uint64) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)

"""Fitting a few positive factors to a few latencies without believing them too much.

    latency = sum over k of factor_k * feature_k

The logarithm of every factor has a normal prior around what is expected; that of every latency is off by
normal noise. The most probable factors are found by Gauss-Newton steps (Levenberg's damping). With one
point, or none, the prior decides; the effective number of parameters, trace(H), says how much the points do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_NOISE = 0.15
_STEPS = 200
_SMALL = 1e-10
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """factors: expected, one a feature. spreads: standard deviations of their natural logarithms."""

    factors: Vector
    spreads: Vector


@dataclass(frozen=True)
class Fit:
    """factors: the most probable. covariance: of their logarithms. parameters: the effective number of them."""

    factors: Vector
    covariance: Vector
    parameters: float

    def predict(self, features: Vector) -> Vector:
        """Latencies of rows of features."""
        made: Vector = features @ self.factors
        return made

    def spread(self, features: Vector) -> Vector:
        """Standard deviation of the logarithm of every predicted latency, noise of a measurement included."""
        slopes = _slopes(features, np.log(self.factors))
        made: Vector = np.sqrt(np.einsum("ij,jk,ik->i", slopes, self.covariance, slopes) + _NOISE**2)
        return made


def fit(features: Vector, latencies: Vector, prior: Prior) -> Fit:
    """Fit factors. features [points, factors] >= 0; latencies [points] > 0. Points may be none."""
    centre = np.log(prior.factors)
    penalty = np.diag(prior.spreads**-2.0)
    place, damping = centre.copy(), 1e-3
    loss = _loss(features, latencies, place, centre, penalty)
    for _ in range(_STEPS):
        slopes = _slopes(features, place) / _NOISE
        errors = np.log(latencies / (features @ np.exp(place))) / _NOISE
        curvature = slopes.T @ slopes + penalty
        step = np.linalg.solve(
            curvature + damping * np.diag(np.diag(curvature)), slopes.T @ errors - penalty @ (place - centre)
        )
        tried = _loss(features, latencies, place + step, centre, penalty)
        if tried > loss:
            damping *= 10
            continue
        place, damping = place + step, max(damping / 10, 1e-9)
        if loss - tried < _SMALL and np.abs(step).max() < 1e-6:
            break
        loss = tried
    return _result(features, place, penalty)


def _result(features: Vector, place: Vector, penalty: Vector) -> Fit:
    slopes = _slopes(features, place) / _NOISE
    information = slopes.T @ slopes
    covariance = np.linalg.inv(information + penalty).astype(np.float64)
    return Fit(np.exp(place), covariance, float(np.trace(covariance @ information)))


def _slopes(features: Vector, place: Vector) -> Vector:
    """Derivative of log latency by log factor: the share of every term."""
    terms = features * np.exp(place)
    made: Vector = terms / terms.sum(axis=1, keepdims=True)
    return made


def _loss(features: Vector, latencies: Vector, place: Vector, centre: Vector, penalty: Vector) -> float:
    errors = np.log(latencies / (features @ np.exp(place))) / _NOISE
    moved = place - centre
    return float(errors @ errors + moved @ penalty @ moved) / 2

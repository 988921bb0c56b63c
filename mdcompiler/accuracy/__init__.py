"""Accuracy: what quantization costs, where, and when it costs too much."""

from __future__ import annotations

from mdcompiler.accuracy.compare import Accuracy, BlockAccuracy, compare
from mdcompiler.accuracy.gates import AccuracyError, Fault, Limits, faults, refuse
from mdcompiler.accuracy.sensitivity import Choice, Sensitivity, cheapest, sensitivities

__all__ = [
    "Accuracy",
    "AccuracyError",
    "BlockAccuracy",
    "Choice",
    "Fault",
    "Limits",
    "Sensitivity",
    "cheapest",
    "compare",
    "faults",
    "refuse",
    "sensitivities",
]

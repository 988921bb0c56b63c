"""Accuracy: what quantization costs, where, and when it costs too much."""

from __future__ import annotations

from mdcompiler.accuracy.annotated import Annotated, open_annotated
from mdcompiler.accuracy.cheapest import Choice, by_worth, cheapest
from mdcompiler.accuracy.compare import Accuracy, BlockAccuracy, compare
from mdcompiler.accuracy.gains import Gain, run_steps
from mdcompiler.accuracy.gates import AccuracyError, Fault, Limits, faults, refuse
from mdcompiler.accuracy.judge import Judge, Judgement
from mdcompiler.accuracy.sensitivity import Sensitivity, sensitivities

__all__ = [
    "Accuracy",
    "AccuracyError",
    "Annotated",
    "BlockAccuracy",
    "Choice",
    "Fault",
    "Gain",
    "Judge",
    "Judgement",
    "Limits",
    "Sensitivity",
    "by_worth",
    "cheapest",
    "compare",
    "faults",
    "open_annotated",
    "refuse",
    "run_steps",
    "sensitivities",
]

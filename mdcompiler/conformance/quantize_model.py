"""Quantizing a trial's network for a machine that has no floats."""

from __future__ import annotations

from mdcompiler.calibration import ListedSamples, calibrate
from mdcompiler.module import Module
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.plan import Planner
from mdcompiler.quantization.scheme import find_scheme, write_scheme
from mdcompiler.quantization.write_qdq import write_qdq
from mdcompiler.sampling import sample_inputs
from mdcompiler.target import Target

_METHOD = "min-max"


def computes_in_float(target: Target) -> bool:
    """Whether networks reach the backend of `target` as they are, not only quantized."""
    return "float32" in target.dtypes


def quantize_model(module: Module) -> None:
    """Quantize `module`, in place, by its target's scheme and the ranges of one seeded input.

    Raises UnsupportedError for a network that must not stay float there and has no integer form.
    """
    scheme = find_scheme(module.target.scheme)
    sample = dict(sample_inputs(module))
    entering = {name: (float(array.min()), float(array.max())) for name, array in sample.items()}
    parameters = Parameters(ranges={**entering, **calibrate(module, ListedSamples([sample]), _METHOD)})
    plan = Planner(module.graph, scheme, parameters).finish()
    write_qdq(module.graph, plan, scheme, parameters)
    write_scheme(module.metadata, scheme)

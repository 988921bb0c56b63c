"""Which of TFLite's fused activations clamps to the integers that a step clamps to."""

from __future__ import annotations

import math

from mdcompiler.errors import UnsupportedError
from mdcompiler.quantization.affine import clamp_integers
from mdcompiler.quantization.steps import Step

_BOUNDS = {
    "NONE": (-math.inf, math.inf),
    "RELU6": (0.0, 6.0),
    "RELU": (0.0, math.inf),
    "RELU_N1_TO_1": (-1.0, 1.0),
}


def fused_activation(step: Step) -> str:
    """The schema's word for the clamp of `step`. Raises UnsupportedError when no fused activation does it."""
    for word, (low, high) in _BOUNDS.items():
        if clamp_integers(step.output.quantization, low, high) == (step.low, step.high):
            return word
    raise UnsupportedError(
        f"writing {step.name} as TFLite: it clamps its integers to {step.low} and {step.high}, which none of "
        f"{', '.join(_BOUNDS)} does. Use the activation relu6 or relu in this block."
    )

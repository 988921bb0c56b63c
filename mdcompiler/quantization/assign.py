"""One scale and zero point for every tensor of a network that is to be quantized.

Where they come from, first match wins:

1. given by the caller (`Parameters.quantization`), for a tensor or for the one it is only moved from or to;
2. fixed by the function: a sigmoid ends at 0 and 1, so its result has the scale 1/256 (1/65536 in 16 bits);
3. the range that calibration saw, without what the clamp after the operation cuts off.

Tensors that hold the same numbers share them: both sides of a reshape, a transpose, and of a concatenation whose
parts are alike. The picture's bytes have the affine meaning the network's preprocessing gives them, with the zero
point rounded to an integer (`picture_quantization`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.constants import scalar
from mdcompiler.errors import UnsupportedError
from mdcompiler.names import block_of
from mdcompiler.quantization.affine import bounds, from_range
from mdcompiler.quantization.scheme import Scheme
from mdcompiler.quantization.split import FloatStep
from mdcompiler.weights.quantization import Quantization

Ranges = Mapping[str, tuple[float, float]]
"""Tensor name -> the smallest and the largest value it takes."""

_MOST_LISTED = 8


@dataclass(frozen=True)
class Parameters:
    """What the caller knows. Names are those of tensors and weights in the float graph.

    ranges: of activations. quantization: scales and zero points to use as they are, of activations and weights.
    integers: weights and biases that are integers already; each weight needs its quantization too.
    """

    ranges: Ranges = field(default_factory=dict)
    quantization: Mapping[str, Quantization] = field(default_factory=dict)
    integers: Mapping[str, NDArray[Any]] = field(default_factory=dict)


@dataclass
class Assignment:
    """dtypes: tensor -> type of its integers. shared: tensor -> the first of those that share its scale."""

    scheme: Scheme
    parameters: Parameters
    dtypes: dict[str, str]
    steps: dict[str, FloatStep]
    shared: dict[str, str] = field(default_factory=dict)

    def leader(self, name: str) -> str:
        """The tensor that stands for all that share a scale with `name`."""
        while self.shared.get(name, name) != name:
            name = self.shared[name]
        return name

    def share(self, first: str, second: str) -> None:
        """Give both tensors one scale and zero point."""
        self.shared[self.leader(second)] = self.leader(first)

    def groups(self) -> dict[str, list[str]]:
        """Leader -> every tensor that shares its scale."""
        found: dict[str, list[str]] = {}
        for name in self.dtypes:
            found.setdefault(self.leader(name), []).append(name)
        return found


def assign(assignment: Assignment) -> dict[str, Quantization]:
    """Tensor -> quantization, for every tensor in `assignment.dtypes`.

    Raises UnsupportedError that names the tensors without a range.
    """
    found: dict[str, Quantization] = {}
    missing: list[str] = []
    for names in assignment.groups().values():
        quantization = _group_quantization(assignment, names)
        if quantization is None:
            missing.append(names[0])
        else:
            found.update(dict.fromkeys(names, quantization))
    if missing:
        listed = ", ".join(missing[:_MOST_LISTED]) + (" …" if len(missing) > _MOST_LISTED else "")
        raise UnsupportedError(
            f"inserting quantization: {len(missing)} tensors have no range, the first in {block_of(missing[0])}: "
            f"{listed}. Calibrate the network as it is before this pass."
        )
    return found


def needs_range(assignment: Assignment) -> list[str]:
    """The tensors whose range calibration must give; of those that share a scale, any one is enough."""
    bare = Assignment(
        assignment.scheme,
        Parameters(quantization=assignment.parameters.quantization),
        assignment.dtypes,
        assignment.steps,
        assignment.shared,
    )
    return [name for names in bare.groups().values() if _group_quantization(bare, names) is None for name in names]


def _group_quantization(assignment: Assignment, names: Iterable[str]) -> Quantization | None:
    names = list(names)
    given = [assignment.parameters.quantization[name] for name in names if name in assignment.parameters.quantization]
    if given:
        return given[0]
    dtype = assignment.dtypes[names[0]]
    if any(step.ends_at_one for name in names if (step := assignment.steps.get(name))):
        return _sigmoid_quantization(assignment.scheme, dtype)
    ranges = [_range(assignment, name) for name in names if name in assignment.parameters.ranges]
    if not ranges:
        return None
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    return _from_range(assignment.scheme, low, high, dtype)


def _range(assignment: Assignment, name: str) -> tuple[float, float]:
    low, high = assignment.parameters.ranges[name]
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UnsupportedError(
            f"inserting quantization: {name} has the range {low} to {high}; two finite numbers, the smaller first. "
            "Calibrate again; if the network itself makes such numbers, its weights are damaged."
        )
    step = assignment.steps.get(name)
    if step is not None:
        low, high = max(low, step.low), min(high, step.high)
    return min(low, high), max(low, high)


def _sigmoid_quantization(scheme: Scheme, dtype: str) -> Quantization:
    least, most = bounds(dtype)
    if scheme.symmetric_activations:
        return _from_range(scheme, 0.0, 1.0, dtype)
    return Quantization((1.0 / (most - least + 1),), (least,), dtype)


def _from_range(scheme: Scheme, low: float, high: float, dtype: str) -> Quantization:
    return from_range(low, high, dtype, scheme.symmetric_activations, scheme.rounding == "power-of-two")


def picture_quantization(step: FloatStep) -> tuple[Quantization, float]:
    """What the bytes of the picture mean, and what must be added to that to be exact.

    The preprocessing says `real = scale * byte + offset`. With scale 2/255 and offset -1 the zero point would be
    127.5; the integer above it is taken, and the half step that every pixel is then too small by goes into the
    stem's bias. Only in the padding, where real pictures have 0, that leaves half a grey level.
    Raises UnsupportedError for a preprocessing whose zero is no byte.
    """
    _, _, scale_node, offset_node = step.nodes
    scale, offset = (_operand(node) for node in (scale_node, offset_node))
    if not scale > 0 or not 0 <= -offset / scale <= 255:
        raise UnsupportedError(
            f"inserting quantization: {step.name} maps the picture's bytes by {scale} * byte + {offset}; the scale "
            "must be positive and 0 within the bytes' range. Choose precision float for the stem."
        )
    rounded = float(np.float32(scale))
    zero_point = math.floor(-offset / rounded + 0.5)
    zero_point = min(zero_point, 255)
    return Quantization((rounded,), (zero_point,), "uint8"), zero_point * rounded + offset


def _operand(node: gs.Node) -> float:
    return next(value for tensor in node.inputs if (value := scalar(tensor)) is not None)

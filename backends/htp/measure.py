"""How far the emulated unit is from the integer reference, operation by operation.

A difference of one step in one layer moves the next one, so whole networks cannot be compared to the bit. Here every
integer inside is read from the emulator, and each operation's result is compared with what the reference makes of the
very integers that the unit had: an error of an operation is its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.htp.cut import Cut
from mdcompiler.errors import UnsupportedError
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.steps import Step, affine

LIMIT_STEPS = 1
"""Largest difference of one operation, in steps of its scale."""
Array = NDArray[Any]


@dataclass(frozen=True)
class Distance:
    """Of one operation or of several. elements: compared; differing: of those; largest: difference in steps."""

    elements: int = 0
    differing: int = 0
    largest: int = 0

    @property
    def share(self) -> float:
        """Of elements that differ, 0 to 1."""
        return self.differing / max(self.elements, 1)

    def __add__(self, other: Distance) -> Distance:
        largest = max(self.largest, other.largest)
        return Distance(self.elements + other.elements, self.differing + other.differing, largest)


def distance(got: Array, want: Array) -> Distance:
    """Between two arrays of integers of one shape."""
    apart = np.abs(got.astype(np.int64) - want.astype(np.int64))
    return Distance(apart.size, int(np.count_nonzero(apart)), int(apart.max(initial=0)))


def watched_tensors(found: Cut) -> tuple[gs.Variable, ...]:
    """Every integer tensor that the unit makes."""
    nodes = [node for kernel in found.unit for node in kernel.nodes if node.op == "QuantizeLinear"]
    return tuple(node.outputs[0] for node in nodes)


def compare_kernels(reference: IntegerReference, found: Cut, values: Mapping[str, Array]) -> dict[str, Distance]:
    """Kernel -> distance of its worst operation's kind, all operations together.

    values: by name, the network's inputs and every watched tensor, as the emulator had them. Raises UnsupportedError
    that names the operation which is further off than LIMIT_STEPS.
    """
    rows = {}
    for kernel in found.unit:
        steps = reference.steps.get(kernel.name)
        if steps is None:
            rows[kernel.name] = _border(kernel.nodes[-1], values)
            continue
        rows[kernel.name] = sum((_compare(reference, step, values) for step in steps), Distance())
    return rows


def _compare(reference: IntegerReference, step: Step, values: Mapping[str, Array]) -> Distance:
    want = reference.run_step(step, [values[port.name] for port in step.inputs])
    return _within(step.name, distance(values[step.output.name], want))


def _border(quantize: gs.Node, values: Mapping[str, Array]) -> Distance:
    """Of a float input that becomes integers."""
    from mdcompiler.quantization.affine import quantize as to_integers

    want = to_integers(values[quantize.inputs[0].name], affine(quantize))
    return _within(str(quantize.name), distance(values[quantize.outputs[0].name], want))


def _within(name: str, found: Distance) -> Distance:
    if found.largest > LIMIT_STEPS:
        raise UnsupportedError(
            f"checking the HTP binary: {name} is {found.largest} steps from the integer reference in "
            f"{found.differing} of {found.elements} elements; {LIMIT_STEPS} is allowed. Keep that block off HTP: "
            "change it in the spec, or compile for another target."
        )
    return found

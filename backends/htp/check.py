"""The proof that a binary for HTP computes what its network says, on QNN's emulator, for each Hexagon version.

Two binaries are made of the same network: one that shows every integer inside, which is compared operation by operation
(`measure`), and the one that ships. Where QNN fuses operations their ends may differ, as a hard-swish that is computed
with its convolution is rounded once; that is measured too, and a binary whose ends have moved further is refused: that
is what a clamp looks like that was dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backend import Arrays
from mdcompiler.backends.htp.archs import qnn_options
from mdcompiler.backends.htp.cut import Cut, unit_model
from mdcompiler.backends.htp.measure import Distance, compare_kernels, distance, watched_tensors
from mdcompiler.backends.htp.qnn import Context, compile_context, run_context
from mdcompiler.errors import UnsupportedError
from mdcompiler.module import Module
from mdcompiler.quantization.integer_reference import IntegerReference

ENDS_LIMIT_STEPS = 2.0
"""Largest mean difference of an end, in steps of its scale; what fusing moves is 0.3 to 0.7."""
Array = NDArray[Any]


@dataclass(frozen=True)
class Proof:
    """Of one Hexagon version. kernels: kernel -> distance of its operations.

    ends: tensor that the unit hands over -> mean difference, in steps, of the shipped binary from the watched one.
    """

    kernels: Mapping[str, Distance]
    ends: Mapping[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest. share: of elements that differ; largest: in steps of the operation's scale."""
        total = sum(self.kernels.values(), Distance())
        return {
            "elements": total.elements,
            "differing": total.differing,
            "share": total.share,
            "largest": total.largest,
            "fusion_steps": max(self.ends.values(), default=0.0),
            "kernels": {name: {"share": item.share, "largest": item.largest} for name, item in self.kernels.items()},
        }


@dataclass(frozen=True)
class Checker:
    """A network and one input for it."""

    module: Module
    cut: Cut
    reference: IntegerReference
    inputs: Arrays

    def prove(self, arch: int, shipped: Context) -> Proof:
        """Compare `shipped`, compiled for `arch`. Raises UnsupportedError naming the operation that is off."""
        watched = watched_tensors(self.cut)
        model = unit_model(self.module, self.cut, watched)
        names = [item.name for item in model.graph.output]
        context = compile_context(model.SerializeToString(), qnn_options((arch,)))
        values = {**self.inputs, **self._run(context, names)}
        kernels = compare_kernels(self.reference, self.cut, values)
        ends = self._run(shipped, [tensor.name for tensor in self.cut.handed])
        return Proof(kernels, {name: _moved(name, array, values[name]) for name, array in ends.items()})

    def _run(self, context: Context, names: list[str]) -> dict[str, Array]:
        arrays = [self.inputs[tensor.name] for tensor in self.cut.inputs]
        return dict(zip(names, run_context(context, arrays, len(names)), strict=True))


def _moved(name: str, got: Array, want: Array) -> float:
    mean = float(np.abs(got.astype(np.int64) - want.astype(np.int64)).mean())
    if mean > ENDS_LIMIT_STEPS:
        most = distance(got, want).largest
        raise UnsupportedError(
            f"checking the HTP binary: its result {name} is {mean:.1f} steps, in the mean, from that of the same "
            f"network compiled with every tensor in sight ({most} at most); {ENDS_LIMIT_STEPS:g} is allowed. "
            "QNN has changed an operation: install a tested version, or compile for another target."
        )
    return mean

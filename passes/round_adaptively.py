"""Round weights up or down so that the layer's result changes least, instead of each to its nearest integer.

The objective is AdaRound's (Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020): the
mean square error of the layer's result on calibration data, d' H d with d = Wq - W. H is the covariance of x, because
the mean error d' E[x] goes into the bias (as correct-bias does for what is rounded to nearest). AdaRound relaxes
the choice and runs thousands of steps of gradient descent; here one weight of every filter is flipped at a time, the
one that gains most, until none gains (coordinate descent, cf. COMQ, 2024). It needs no learning rate, never gets
worse and takes seconds. onnxsim 0.8.1 has AdaRound for 4-bit matrix products only.

The weights stay float; they come to lie on the grid that insert-qdq rounds to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.calibration.patches import Moments, convolutions, moments
from mdcompiler.calibration.samples import ListedSamples, Samples
from mdcompiler.compile_pass import Stage
from mdcompiler.constants import assign
from mdcompiler.evaluator.products import matmul
from mdcompiler.module import Module
from mdcompiler.names import kernel_path
from mdcompiler.passes.correct_bias import correctable, rounded, shift_bias
from mdcompiler.passes.insert_qdq import is_quantized, scheme_of
from mdcompiler.quantization.affine import bounds, quantize
from mdcompiler.quantization.scheme import Scheme

Array = NDArray[Any]
_DAMPING = 1e-4
"""Share of H's mean diagonal that is added to it: inputs that never vary on few samples vary a little in use."""


@dataclass(frozen=True)
class RoundAdaptively:
    """Choose for every weight whether it is rounded up or down.

    samples: of calibration; without them nothing is done. scheme: the target's where it is None.
    flips: largest number of flips, as a share of the weights of a filter.
    """

    samples: Samples = field(default_factory=lambda: ListedSamples([]))
    scheme: Scheme | None = None
    flips: float = 0.5

    name: ClassVar[str] = "round-adaptively"
    stage: ClassVar[Stage] = "quantize"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        if not len(self.samples) or is_quantized(module):
            return 0
        scheme = self.scheme or scheme_of(module)
        seen = moments(module.graph, self.samples, squares=True)
        nodes = [node for node in convolutions(module.graph) if correctable(node)]
        return sum(_round(module.graph, node, seen[node.name], scheme, self.flips) for node in nodes)


def _round(graph: gs.Graph, node: gs.Node, seen: Moments, scheme: Scheme, flips: float) -> int:
    weight: Array = node.inputs[1].values
    how = scheme.weight_rule(weight)
    steps = np.broadcast_to(np.asarray(how.scale, np.float64), weight.shape[:1])
    groups, size = seen.mean.shape
    shape = (groups, weight.shape[0] // groups, size)
    nearest = quantize(weight, how)
    least, most = bounds(scheme.weight)
    scale = steps.reshape(groups, -1, 1)
    errors = (how.dequantize(nearest).astype(np.float64) - weight).reshape(shape) / scale
    integers = nearest.astype(np.int64).reshape(shape)
    movable = (integers > least + 1) & (integers < most)
    moved = descend(errors, _covariance(seen), movable, int(flips * size) + 1)
    if not moved.any():
        return 0
    chosen = how.dequantize((integers + moved).reshape(weight.shape))
    if not np.allclose(rounded(chosen, scheme), chosen, rtol=1e-5, atol=float(scale.min()) * 1e-3):
        return 0  # another grid would be chosen for these weights (asymmetric schemes): nearest is safe
    shift_bias(graph, node, chosen - weight, seen)
    assign(graph, node, 1, chosen, f"{kernel_path(node.name)}/weight")
    return int(np.count_nonzero(moved))


def _covariance(seen: Moments) -> Array:
    second = seen.second / max(seen.count, 1)
    return np.asarray(second - seen.mean[:, :, None] * seen.mean[:, None, :])


def descend(errors: Array, second: Array, movable: Array, flips: int) -> Array:
    """Moves (-1, 0, 1) [G,O,K] that lower e' H e for every filter's rounding errors.

    errors: [G,O,K] of rounding to nearest, in steps, within +-0.5. second: H [G,K,K]. movable: [G,O,K] of bool.
    """
    groups, filters, size = errors.shape
    damped = second + _DAMPING * np.eye(size) * np.trace(second, axis1=1, axis2=2)[:, None, None] / size
    damped = damped.astype(np.float32)
    diagonal = np.diagonal(damped, axis1=1, axis2=2)[:, None, :]
    away = np.where(errors > 0, -1.0, 1.0).astype(np.float32) * movable
    moved = np.zeros(errors.shape, np.int64)
    slope = np.stack([matmul(*pair) for pair in zip(errors.astype(np.float32), damped, strict=True)])
    group, row = np.arange(groups)[:, None], np.arange(filters)[None, :]
    for _ in range(flips):
        gain = 2 * away * slope + (away != 0) * diagonal
        best = gain.argmin(axis=2)
        better = gain[group, row, best] < 0
        if not better.any():
            break
        step = np.where(better, away[group, row, best], 0)
        moved[group, row, best] += step.astype(np.int64)
        slope += step[:, :, None] * damped[group, best]
        # A weight that was moved may move back, which is the only other neighbour of its real value.
        away[group, row, best] = np.where(better, -away[group, row, best], away[group, row, best])
    return moved

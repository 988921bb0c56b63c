"""Give every block the cheapest precision that keeps the limits on accuracy.

The network is measured with all blocks in int8. Where that is past the limits, blocks are quantized one at a time to
see what each costs, and the most costly ones get 16-bit activations or float until the limits hold. The answer is
the attribute `mdc.precision` on the nodes of the blocks that are not int8; `precisions` reads it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mdcompiler.accuracy.gates import Limits
from mdcompiler.accuracy.sensitivity import Quantize, cheapest, sensitivities
from mdcompiler.calibration.ranges import Ranges
from mdcompiler.calibration.samples import ListedSamples, Samples
from mdcompiler.compile_pass import Stage
from mdcompiler.kernel import kernel_name
from mdcompiler.kernel_kinds import KINDS
from mdcompiler.module import Module
from mdcompiler.names import block_of
from mdcompiler.passes.insert_qdq import InsertQdq, scheme_of
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.scheme import Precision, Scheme

PRECISION = "mdc.precision"


@dataclass(frozen=True)
class AssignPrecision:
    """Choose int8, 16-bit activations or float for every block.

    ranges, samples: of calibration; without samples nothing is done. scheme: the target's where it is None.
    budget: how many blocks may be better than int8, None for any number.
    """

    ranges: Ranges = field(default_factory=dict)
    samples: Samples = field(default_factory=lambda: ListedSamples([]))
    scheme: Scheme | None = None
    limits: Limits = field(default_factory=Limits)
    budget: int | None = None

    name: ClassVar[str] = "assign-precision"
    stage: ClassVar[Stage] = "quantize"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        if not len(self.samples):
            return 0
        scheme = self.scheme or scheme_of(module)
        quantize = quantizer(self.ranges, scheme)
        choice = cheapest(module, quantize, self.samples, (), self.limits)
        if choice.faults:
            order = [row.block for row in sensitivities(module, quantize, self.samples)]
            ladder = _ladder(scheme)
            choice = cheapest(module, quantize, self.samples, order, self.limits, ladder, self.budget)
        return _write(module, choice.precision)


def quantizer(ranges: Ranges, scheme: Scheme, any_kind_may_stay_float: bool = True) -> Quantize:
    """What makes quantized copies of a network by `ranges`.

    any_kind_may_stay_float: for measuring, also where the machine that `scheme` belongs to could not run it.
    """
    kinds = tuple(KINDS) if any_kind_may_stay_float else scheme.may_stay_float
    free = scheme.model_copy(update={"may_stay_float": kinds})

    def quantize(module: Module, precision: Mapping[str, Precision]) -> Module:
        copy = Module.from_onnx(module.to_onnx(), module.target)
        InsertQdq(Parameters(ranges=ranges), precision, scheme=free).run(copy)
        return copy

    return quantize


def precisions(module: Module) -> dict[str, Precision]:
    """Block -> precision, of the blocks that were given one."""
    return {
        block_of(kernel_name(node)): node.attrs[PRECISION] for node in module.graph.nodes if PRECISION in node.attrs
    }


def _ladder(scheme: Scheme) -> tuple[Precision, ...]:
    """What the machine has, from cheap to dear."""
    wide: tuple[Precision, ...] = ("int16",) if scheme.wide_activation else ()
    dear: tuple[Precision, ...] = ("float",) if {"conv", "pointwise", "depthwise"} <= set(scheme.may_stay_float) else ()
    return ("int8", *wide, *dear)


def _write(module: Module, precision: dict[str, Precision]) -> int:
    nodes = [node for node in module.graph.nodes if block_of(kernel_name(node)) in precision]
    changed = [node for node in nodes if node.attrs.get(PRECISION) != precision[block_of(kernel_name(node))]]
    for node in changed:
        node.attrs[PRECISION] = precision[block_of(kernel_name(node))]
    return len(changed)

"""Give every block the cheapest precision that keeps the limits on accuracy.

The network is measured with all blocks in int8. Where that is past the limits, blocks are quantized one at a time to
see what each costs, and the ones that spoil most for the work in them get 16-bit activations or float, as few as the
limits ask for (`mdcompiler.accuracy.cheapest`). The answer is the attribute `mdc.precision` on the nodes of the
blocks that are not int8; `precisions` reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mdcompiler.accuracy.cheapest import Choice, by_worth, cheapest
from mdcompiler.accuracy.judge import Judge, Judgement
from mdcompiler.accuracy.sensitivity import MakeQuantized, Sensitivity, sensitivities, work_shares
from mdcompiler.calibration.ranges import Ranges
from mdcompiler.calibration.samples import first_samples
from mdcompiler.compile_pass import Stage
from mdcompiler.kernel import Kernel, kernel_name, kernels
from mdcompiler.kernel_kinds import CONVOLUTIONS, KINDS
from mdcompiler.module import Module
from mdcompiler.names import block_of
from mdcompiler.passes.insert_qdq import InsertQdq, scheme_of
from mdcompiler.progress import Progress, silent
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.scheme import Precision, Scheme

PRECISION = "mdc.precision"
TABLE_SAMPLES = 8
"""Samples that the sensitivity table is measured on."""
WhyNot = Callable[[Kernel], str | None]
"""None where the backend has a kernel, else the reason."""


def has_every_kernel(kernel: Kernel) -> str | None:
    """The answer of a machine that can compute anything."""
    del kernel
    return None


@dataclass(frozen=True)
class AssignPrecision:
    """Choose int8, 16-bit activations or float for every block.

    ranges: of calibration. judge: says which limits a network passes; without one nothing is done. scheme: the
    target's where it is None. why_not: the backend's, None where it has a kernel. fixed: blocks or kernels whose
    precision is decided. budget: largest share of the multiply-adds that may leave int8. table: sensitivities, where
    they are known already.
    """

    ranges: Ranges = field(default_factory=dict)
    judge: Judge | None = None
    scheme: Scheme | None = None
    why_not: WhyNot = has_every_kernel
    fixed: Mapping[str, Precision] = field(default_factory=dict)
    budget: float = 0.5
    table: tuple[Sensitivity, ...] = ()
    progress: Progress = silent

    name: ClassVar[str] = "assign-precision"
    stage: ClassVar[Stage] = "quantize"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        return _write(module, self.choose(module).precision) if self.judge is not None else 0

    def choose(self, module: Module) -> Choice:
        """The precision of every block that is not int8, and what the network then loses."""
        assert self.judge is not None, "choosing needs a judge"
        scheme = self.scheme or scheme_of(module)
        make, judge = quantizer(self.ranges, scheme), self.judge
        tried = 0

        def measure(precision: Mapping[str, Precision]) -> Judgement:
            nonlocal tried
            tried += 1
            self.progress("choosing precision", tried, 0)
            return judge.judge(make(module, {**precision, **self.fixed}))

        plain = Choice({}, measure({}))
        if not plain.judgement.faults:
            return plain
        rungs = self.rungs(module, make, scheme)
        table = self.table or tuple(self._table(module, make)) if rungs else ()
        share = work_shares(module)
        order = [block for block in by_worth(table, share) if block not in self.fixed]
        return cheapest(measure, order, rungs, share, self.budget)

    def _table(self, module: Module, make: MakeQuantized) -> list[Sensitivity]:
        assert self.judge is not None
        return sensitivities(module, make, first_samples(self.judge.samples, TABLE_SAMPLES), self.progress)

    def rungs(self, module: Module, make: MakeQuantized, scheme: Scheme) -> tuple[Precision, ...]:
        """What the machine has beside int8, from cheap to dear: the backend must have kernels for it."""
        found: tuple[Precision, ...] = ()
        if scheme.wide_activation:
            wide: dict[str, Precision] = dict.fromkeys(work_shares(module), "int16")
            found += ("int16",) if self._serves(make(module, wide)) else ()
        floats = "float32" in module.target.dtypes and self._serves(module)
        return (*found, "float") if floats else found

    def _serves(self, module: Module) -> bool:
        return all(self.why_not(kernel) is None for kernel in kernels(module.graph) if kernel.kind in CONVOLUTIONS)


def quantizer(ranges: Ranges, scheme: Scheme, any_kind_may_stay_float: bool = True) -> MakeQuantized:
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


def _write(module: Module, precision: dict[str, Precision]) -> int:
    nodes = [node for node in module.graph.nodes if block_of(kernel_name(node)) in precision]
    changed = [node for node in nodes if node.attrs.get(PRECISION) != precision[block_of(kernel_name(node))]]
    for node in changed:
        node.attrs[PRECISION] = precision[block_of(kernel_name(node))]
    return len(changed)

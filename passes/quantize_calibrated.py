"""From a float network and samples to a quantized network that is worth shipping.

Runs the methods that are switched on, calibrates, chooses a precision for every block where that is asked for,
inserts Q/DQ, and measures the result against the float network. Past the limits it raises AccuracyError with the
block at fault and the cheapest cure that was found, unless `allow_degraded`. What was measured goes into the
module's metadata under `mdc.accuracy`, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, ClassVar

from mdcompiler.accuracy.annotated import Annotated
from mdcompiler.accuracy.compare import Accuracy, compare
from mdcompiler.accuracy.gains import Step, run_steps
from mdcompiler.accuracy.gates import Limits, refuse
from mdcompiler.accuracy.head import end_tensors
from mdcompiler.accuracy.judge import Judge, Judgement
from mdcompiler.accuracy.sensitivity import Sensitivity, sensitivities, work_shares
from mdcompiler.calibration.calibrate import DEFAULT_METHOD, calibrate
from mdcompiler.calibration.ranges import Ranges
from mdcompiler.calibration.refine_ranges import refine_ranges
from mdcompiler.calibration.samples import ListedSamples, Samples, first_samples
from mdcompiler.compile_pass import Pass, Stage
from mdcompiler.module import Module
from mdcompiler.names import block_of
from mdcompiler.passes.assign_precision import (
    TABLE_SAMPLES,
    AssignPrecision,
    WhyNot,
    has_every_kernel,
    precisions,
    quantizer,
)
from mdcompiler.passes.correct_bias import CorrectBias
from mdcompiler.passes.equalize_cross_layer import EqualizeCrossLayer
from mdcompiler.passes.insert_qdq import InsertQdq, is_quantized, scheme_of
from mdcompiler.passes.round_adaptively import RoundAdaptively
from mdcompiler.progress import Progress, silent
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.options import METHODS
from mdcompiler.quantization.scheme import Precision, Scheme

ACCURACY = "mdc.accuracy"
REFINE = "refine-ranges"


@dataclass(frozen=True)
class QuantizeCalibrated:
    """Quantize by samples, and refuse what does not see any more.

    samples: of calibration; without them nothing is done. calibration: how ranges are found. methods: which of
    METHODS run. precision: what the caller has decided for blocks or kernels. scheme: the target's where it is None.
    limits: on what may be lost. annotated: pictures with the truth. compared: how many samples the result is
    measured on. choose: let assign-precision give blocks more than int8, in `budget`, where the limits ask for it;
    why_not: the backend's. report: measure every block and every method, too. allow_degraded: ship it past the limits.
    """

    samples: Samples = field(default_factory=lambda: ListedSamples([]))
    calibration: str = DEFAULT_METHOD
    methods: tuple[str, ...] = METHODS
    precision: Mapping[str, Precision] = field(default_factory=dict)
    scheme: Scheme | None = None
    limits: Limits = field(default_factory=Limits)
    annotated: Annotated | None = None
    compared: int = 16
    choose: bool = False
    budget: float = 0.5
    why_not: WhyNot = has_every_kernel
    report: bool = False
    allow_degraded: bool = False
    progress: Progress = silent

    name: ClassVar[str] = "quantize-calibrated"
    stage: ClassVar[Stage] = "quantize"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        if not len(self.samples) or is_quantized(module):
            return 0
        return _Work(self, module, self.scheme or scheme_of(module)).run()


class _Work:
    """One run. reference: the float network that results are compared with; ranges: of its tensors."""

    def __init__(self, options: QuantizeCalibrated, module: Module, scheme: Scheme) -> None:
        self.options, self.module, self.scheme = options, module, scheme
        self.few = first_samples(options.samples, options.compared)
        self.reference = _copy(module)
        self.ranges: Ranges = {}
        self.table: list[Sensitivity] = []

    def run(self) -> int:
        options, module = self.options, self.module
        edits, gains = run_steps(self._steps(), self._measure_methods if options.report else None)
        self.ranges = self.ranges or self._calibrated()
        self.table = self._sensitivities() if options.report else []
        judge = Judge(self.reference, self.few, options.limits, options.annotated)
        assign = self._assign(judge)
        edits += assign.run(module) if options.choose else 0
        chosen = {**precisions(module), **options.precision}
        floats = _copy(module)
        edits += InsertQdq(Parameters(ranges=self.ranges), chosen, scheme=self.scheme).run(module)
        judgement = judge.judge(module, always=options.allow_degraded)
        if judgement.faults and not options.allow_degraded:
            refuse(judgement.faults, self._cure(assign, floats))
        record = _record(judgement, chosen, work_shares(floats))
        if options.report:
            record["gains"] = [item.as_dict() for item in gains]
            record["sensitivity"] = [row.as_dict() for row in self.table]
        module.metadata[ACCURACY] = json.dumps(record, sort_keys=True)
        return edits

    def _sensitivities(self) -> list[Sensitivity]:
        make, samples = quantizer(self.ranges, self.scheme), first_samples(self.few, TABLE_SAMPLES)
        return sensitivities(self.module, make, samples, self.options.progress)

    def _assign(self, judge: Judge) -> AssignPrecision:
        options = self.options
        return AssignPrecision(
            self.ranges,
            judge,
            self.scheme,
            options.why_not,
            options.precision,
            options.budget,
            tuple(self.table),
            options.progress,
        )

    def _steps(self) -> list[Step]:
        """The methods that are switched on, in order."""
        samples, scheme = self.options.samples, self.scheme
        passes: tuple[Pass, ...] = (
            EqualizeCrossLayer(samples, scheme),  # first: it changes which weights there are to round
            RoundAdaptively(samples, scheme),
            CorrectBias(samples, scheme),  # it takes out the mean of what is still wrong with the weights
        )
        steps: list[Step] = [(item.name, partial(self._run_pass, item)) for item in passes]
        steps.append((REFINE, self._refine))  # last: it looks at activations only
        return [step for step in steps if step[0] in self.options.methods]

    def _run_pass(self, item: Pass) -> int:
        edits = item.run(self.module)
        if isinstance(item, EqualizeCrossLayer):
            # Channels between layers have other sizes now, so the tensors of the network as it was do not compare.
            self.reference = _copy(self.module)
        return edits

    def _refine(self) -> int:
        ends = end_tensors(self.module)
        self.ranges, changed = refine_ranges(
            self.module, self._calibrated(), self.options.samples, ends, self.options.progress
        )
        return len(changed)

    def _calibrated(self) -> Ranges:
        return calibrate(self.module, self.options.samples, self.options.calibration, self.options.progress)

    def _measure_methods(self) -> Accuracy:
        quantized = quantizer(self.ranges or self._calibrated(), self.scheme)(self.module, {})
        return compare(self.reference, quantized, self.few)

    def _cure(self, assign: AssignPrecision, floats: Module) -> str:
        """The cheapest choice that keeps the limits, as options, measured; "" where none was found."""
        if self.options.choose:
            return f"No choice keeps the limits with {assign.budget:.0%} of the work outside of int8 (--budget)."
        choice = replace(assign, ranges=self.ranges).choose(floats)
        if choice.judgement.faults or not choice.precision:
            return ""
        options = " ".join(_option(block, precision) for block, precision in choice.precision.items())
        return f"Measured to be enough: {options} ({choice.share:.1%} of the multiply-adds)."


def _copy(module: Module) -> Module:
    return Module.from_onnx(module.to_onnx(), module.target)


def _option(block: str, precision: Precision) -> str:
    return f"--keep-float {block}" if precision == "float" else f"--wide {block}"


def _record(judgement: Judgement, chosen: Mapping[str, Precision], share: Mapping[str, float]) -> dict[str, Any]:
    blocks = {block_of(name) for name in chosen}
    return {
        **judgement.accuracy.as_dict(),
        "degraded": [fault.as_dict() for fault in judgement.faults],
        "precision": dict(chosen),
        "share_outside_int8": round(sum(share.get(block, 0.0) for block in blocks), 6),
    }

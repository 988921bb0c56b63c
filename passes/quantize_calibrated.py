"""From a float network and samples to a quantized network that is worth shipping.

Runs the methods that are switched on, calibrates, inserts Q/DQ, and measures the result against the float network.
Past the limits it raises AccuracyError with the block at fault, unless `allow_degraded`. What was measured goes into
the module's metadata under `mdc.accuracy`, as JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mdcompiler.accuracy.compare import Accuracy, compare
from mdcompiler.accuracy.gates import Fault, Limits, faults, refuse
from mdcompiler.calibration.calibrate import DEFAULT_METHOD, calibrate
from mdcompiler.calibration.samples import ListedSamples, Samples
from mdcompiler.compile_pass import Pass, Stage
from mdcompiler.module import Module
from mdcompiler.passes.assign_precision import AssignPrecision, precisions
from mdcompiler.passes.correct_bias import CorrectBias
from mdcompiler.passes.equalize_cross_layer import EqualizeCrossLayer
from mdcompiler.passes.insert_qdq import InsertQdq, is_quantized, scheme_of
from mdcompiler.passes.round_adaptively import RoundAdaptively
from mdcompiler.progress import Progress, silent
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.scheme import Precision, Scheme

ACCURACY = "mdc.accuracy"
METHODS = ("equalize-cross-layer", "round-adaptively", "correct-bias")


@dataclass(frozen=True)
class QuantizeCalibrated:
    """Quantize by samples, and refuse what does not see any more.

    samples: of calibration; without them nothing is done. calibration: how ranges are found. methods: which of
    METHODS run. mixed: let assign-precision give blocks more than int8 where the limits ask for it. precision: what
    the caller has decided for blocks. scheme: the target's where it is None. compared: how many samples the result
    is measured on. allow_degraded: ship it past the limits.
    """

    samples: Samples = field(default_factory=lambda: ListedSamples([]))
    calibration: str = DEFAULT_METHOD
    methods: tuple[str, ...] = METHODS
    mixed: bool = False
    precision: Mapping[str, Precision] = field(default_factory=dict)
    scheme: Scheme | None = None
    limits: Limits = field(default_factory=Limits)
    compared: int = 16
    allow_degraded: bool = False
    progress: Progress = silent

    name: ClassVar[str] = "quantize-calibrated"
    stage: ClassVar[Stage] = "quantize"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        if not len(self.samples) or is_quantized(module):
            return 0
        scheme = self.scheme or scheme_of(module)
        original = Module.from_onnx(module.to_onnx(), module.target)
        edits = sum(item.run(module) for item in self._prepare(scheme))
        ranges = calibrate(module, self.samples, self.calibration, self.progress)
        few = first(self.samples, self.compared)
        if self.mixed:
            edits += AssignPrecision(ranges, few, scheme, self.limits).run(module)
        chosen = {**precisions(module), **self.precision}
        edits += InsertQdq(Parameters(ranges=ranges), chosen, scheme=scheme).run(module)
        self._judge(module, compare(original, module, few, self.progress))
        return edits

    def _prepare(self, scheme: Scheme) -> list[Pass]:
        everything: tuple[Pass, ...] = (
            EqualizeCrossLayer(self.samples, scheme),  # first: it changes which weights there are to round
            RoundAdaptively(self.samples, scheme),
            CorrectBias(self.samples, scheme),  # last: it takes out the mean of what is still wrong
        )
        return [item for item in everything if item.name in self.methods]

    def _judge(self, module: Module, accuracy: Accuracy) -> None:
        found = faults(accuracy, self.limits)
        if not self.allow_degraded:
            refuse(found)
        module.metadata[ACCURACY] = json.dumps(_record(accuracy, found), sort_keys=True)


def first(samples: Samples, count: int) -> ListedSamples:
    """The first `count` samples, kept in memory."""
    return ListedSamples([sample for _, sample in zip(range(min(count, len(samples))), samples, strict=False)])


def _record(accuracy: Accuracy, found: list[Fault]) -> dict[str, object]:
    return {**accuracy.as_dict(), "degraded": [fault.as_dict() for fault in found]}

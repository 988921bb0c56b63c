"""One judgement of a quantized network: what it cost, and which limits that passes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from mdcompiler.accuracy.annotated import Annotated
from mdcompiler.accuracy.compare import Accuracy, compare
from mdcompiler.accuracy.gates import Fault, Limits, faults
from mdcompiler.calibration.samples import Samples
from mdcompiler.module import Module


@dataclass(frozen=True)
class Judgement:
    """accuracy: what was measured; faults: the limits that are passed, the most telling first."""

    accuracy: Accuracy
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Judge:
    """Compares quantized networks with `reference`, the float one, on `samples` and, where given, annotated pictures.

    The pictures are looked at only while the cheaper limits hold, or with `always`.
    """

    reference: Module
    samples: Samples
    limits: Limits
    annotated: Annotated | None = None

    def judge(self, quantized: Module, always: bool = False) -> Judgement:
        """Measure `quantized`, whose tensors have the names of the reference."""
        accuracy = compare(self.reference, quantized, self.samples)
        if self.annotated is not None and (always or not faults(accuracy, self.limits)):
            points = self.annotated.points(quantized)
            accuracy = replace(accuracy, map_points=points, map_lost=self.float_points - points)
        return Judgement(accuracy, tuple(faults(accuracy, self.limits)))

    @cached_property
    def float_points(self) -> float:
        """mAP of the float network, points of 100."""
        assert self.annotated is not None
        return self.annotated.points(self.reference)

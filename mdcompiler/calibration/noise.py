"""Quantizing by noise: for what does not depend on the ranges, such as kernels, schedules and memory."""

from __future__ import annotations

from mdcompiler.calibration.samples import ListedSamples
from mdcompiler.module import Module
from mdcompiler.passes.move_sigmoid import MoveSigmoid
from mdcompiler.passes.quantize_calibrated import QuantizeCalibrated
from mdcompiler.pipeline import Pipeline
from mdcompiler.sampling import sample_inputs


def quantize_by_noise(module: Module, pipeline: Pipeline) -> None:
    """Quantize a fused `module` by one sample of noise. Its integers are right, its numbers are of no use."""
    samples = ListedSamples([sample_inputs(module)])
    pipeline.run(
        module, [MoveSigmoid(), QuantizeCalibrated(samples, "min-max", methods=(), compared=1, allow_degraded=True)]
    )

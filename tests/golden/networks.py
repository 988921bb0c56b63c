"""The zoo as the place stage leaves it, quantized by stored ranges: a calibration may round otherwise elsewhere."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from mdcompiler.calibration import calibrate, load_ranges, save_ranges
from mdcompiler.calibration.samples import ListedSamples
from mdcompiler.compile_pass import STAGES, Stage
from mdcompiler.compiler import Job
from mdcompiler.module import Module
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.pipeline import Pipeline
from mdcompiler.quantization.assign import Parameters
from mdcompiler.read_network import Request
from mdcompiler.sampling import sample_inputs
from mdcompiler.target import find_target

FOLDER = Path(__file__).parent
_RANGES = FOLDER / "ranges"
_SAMPLES = 4
_AFTER_FUSE = STAGES[STAGES.index("fuse") + 1 :]


def placed(network: str, target: str, precision: str) -> Module:
    """`network` of the zoo with seeded weights, ready to be emitted for `target`."""
    job = Job(Request(network), find_target(target))
    module = _fused(network, target)
    pipeline = Pipeline(verify=0)
    pipeline.ran += _names(job, STAGES[: STAGES.index("fuse") + 1])
    if precision == "int8":
        pipeline.run(module, [InsertQdq(Parameters(ranges=load_ranges(_RANGES / f"{network}.json")))])
    for stage in _AFTER_FUSE:
        pipeline.run(module, job.passes(stage))
    return module


def write_ranges(network: str) -> None:
    """Calibrate on noise and keep the ranges."""
    module = _fused(network, "x86-64-v3")
    noise = ListedSamples([sample_inputs(module, seed) for seed in range(_SAMPLES)])
    save_ranges(_RANGES / f"{network}.json", calibrate(module, noise, "min-max"))


def _fused(network: str, target: str) -> Module:
    return Module.from_onnx(_fused_model(network).to_onnx(), find_target(target))


@lru_cache(maxsize=1)
def _fused_model(network: str) -> Module:
    """The stages before this one know no target; those of a backend's own passes are all later."""
    return Job(Request(network), find_target("null")).graph_after("fuse")


def _names(job: Job, stages: tuple[Stage, ...]) -> list[str]:
    return [item.name for stage in stages for item in job.passes(stage)]

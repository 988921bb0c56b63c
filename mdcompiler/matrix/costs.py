"""What blocks cost: counted or estimated by the backend, measured where the code runs natively, and predicted."""

from __future__ import annotations

from dataclasses import dataclass, field

from mdcompiler.artifact import Artifact
from mdcompiler.backend import Costs, block_costs
from mdcompiler.benchmark import by_block
from mdcompiler.detector import Detector
from mdcompiler.errors import MdcError
from mdcompiler.latency import predict
from mdcompiler.latency.chip import chip_of_target
from mdcompiler.read_network import Request, requested_spec
from mdcompiler.registry import backend
from mdcompiler.sampling import seeded_inputs
from mdcompiler.target import Target

_PROFILES = 10


def costs_of(artifact: Artifact, runs: bool) -> Costs | None:
    """What one run of `artifact` takes; None where nothing tells. Raises MdcError where a tool is missing.

    runs: whether it does here; estimates are given all the same.
    """
    own = block_costs(backend(artifact.manifest.target.backend), artifact)
    if own is not None or not runs:
        return own
    with Detector.open(artifact) as detector:
        return _measured(detector)


def _measured(detector: Detector) -> Costs | None:
    """The least time of each kernel in a few profiled runs: what disturbs one run seldom disturbs all."""
    profile = getattr(detector.runnable, "profile", None)
    if profile is None:
        return None
    inputs = seeded_inputs(detector.artifact.manifest.inputs)
    runs = [profile(inputs) for _ in range(_PROFILES)]
    least = [(rows[0][0], min(nanoseconds for _, nanoseconds in rows)) for rows in zip(*runs, strict=True)]
    return Costs("ms", "measured", {row.block: row.milliseconds for row in by_block(least)})


@dataclass(frozen=True)
class Predicted:
    """By the latency model. chip: "" where it knows no chip of the target. blocks: block -> microseconds."""

    chip: str = ""
    total_ms: float | None = None
    blocks: dict[str, float] = field(default_factory=dict)


def predicted(request: Request, target: Target, precision: str) -> Predicted:
    """What the chip of `target` would take, where its file is known and has the precision."""
    chip = chip_of_target(target.name)
    if chip is None or request.is_onnx or precision not in chip.precisions:
        return Predicted()
    try:
        found = predict(requested_spec(request), chip, precision)
    except MdcError:
        return Predicted()
    return Predicted(chip.name, found.total_ms, {block.path: block.latency_us for block in found.blocks})

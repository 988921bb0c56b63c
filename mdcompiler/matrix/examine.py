"""One artifact of a matrix, run where that can be done and compared with the arbiter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.artifact import Artifact
from mdcompiler.backend import Proof, block_proof, why_not_run
from mdcompiler.detector import Detector
from mdcompiler.errors import InternalError, MdcError
from mdcompiler.matrix.boundaries import Difference
from mdcompiler.matrix.network import Prepared
from mdcompiler.matrix.one_line import one_line
from mdcompiler.matrix.report import Verdict
from mdcompiler.registry import backend
from mdcompiler.tolerance import relative_difference

Arrays = dict[str, NDArray[Any]]
PROVED_STEPS = 1
"""Difference of one operation that a machine with rounding of its own may have."""
DETECTIONS = frozenset(("boxes", "classes", "scores", "count"))


@dataclass
class Finding:
    """What running an artifact showed. outputs: name -> relative difference; exact: every one is equal."""

    verdict: Verdict
    reason: str = ""
    note: str = ""
    outputs: dict[str, float] = field(default_factory=dict)


def examine(artifact: Artifact, prepared: Prepared) -> Finding:
    """Run `artifact` on the inputs of the check."""
    reason = why_not_run(backend(artifact.manifest.target.backend), artifact.manifest.target)
    if reason:
        return Finding("compiled only", one_line(reason))
    try:
        with Detector.open(artifact) as detector:
            return _compared(detector, artifact, prepared)
    except MdcError as error:
        return Finding("compiled only", one_line(error))
    except InternalError as error:
        return Finding("differs", one_line(error))


def _compared(detector: Detector, artifact: Artifact, prepared: Prepared) -> Finding:
    got = detector.run_by_own_names(prepared.check.inputs[0])
    want = {name: prepared.values[name] for name in got}
    outputs = {name: relative_difference(got[name], want[name]) for name in got}
    faults = prepared.check.faults(detector.run_with_head)
    if not faults:
        equal = all(np.array_equal(got[name], want[name]) for name in got)
        return Finding("bit for bit" if equal else "tolerance", outputs=outputs)
    proof = block_proof(backend(artifact.manifest.target.backend), artifact)
    if proof is not None:
        return _proved(proof, outputs)
    return Finding("differs", "; ".join(faults), outputs=outputs)


def _proved(proof: Proof, outputs: dict[str, float]) -> Finding:
    """The verdict on a machine whose rounding is its own."""
    most = max(proof.steps.values(), default=0)
    note = f"each operation at most {most} step(s) from the integer reference; {proof.share:.2%} of the elements differ"
    return Finding("tolerance" if most <= PROVED_STEPS else "differs", note=note, outputs=outputs)


def with_blocks(finding: Finding, blocks: dict[str, Difference], precision: str) -> Finding:
    """`finding` in the light of the tensors between blocks.

    The post-processing computes in float, so the detections of an exact integer network may be a rounding apart.
    """
    if precision != "int8" or finding.verdict != "tolerance" or set(finding.outputs) != DETECTIONS:
        return finding
    if not blocks or any(block.steps or block.relative for block in blocks.values()):
        return finding
    note = "all tensors up to the post-processing are equal; detections, which are float, within the tolerance"
    return Finding("bit for bit", note=note, outputs=finding.outputs)

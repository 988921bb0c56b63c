"""One pair of a matrix: compiled, examined, and told block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from numpy.typing import NDArray

from mdcompiler.artifact import Artifact, write_artifact
from mdcompiler.backend import Costs, block_proof, check_ready
from mdcompiler.compiler import Job
from mdcompiler.detector import Detector
from mdcompiler.errors import InternalError, MdcError, UnsupportedError
from mdcompiler.kernel import kernels
from mdcompiler.matrix.boundaries import Difference, boundaries, difference, tapped
from mdcompiler.matrix.costs import Predicted, costs_of, predicted
from mdcompiler.matrix.examine import PROVED_STEPS, examine, with_blocks
from mdcompiler.matrix.memory import block_memory
from mdcompiler.matrix.network import Network, Prepared
from mdcompiler.matrix.one_line import one_line
from mdcompiler.matrix.real_taps import integers_of, make_real
from mdcompiler.matrix.report import BlockRow, PairRow
from mdcompiler.module import Module
from mdcompiler.quantization.steps import is_integer
from mdcompiler.scratch import scratch_folder
from mdcompiler.self_check import CHECK_FILE
from mdcompiler.tolerance import tolerance_of

_BORDERS = ("quantize", "dequantize", "layout", "view")


def compile_pair(job: Job, network: Network, folder: Path) -> Artifact:
    """The artifact of a pair in `folder`."""
    check_ready(job.backend, job.target)
    prepared = network.prepared(job)
    check = {} if job.why_no_check() else {CHECK_FILE: prepared.check.to_bytes()}
    manifest, files = job.build(prepared.copy(job.target), network.source, check)
    return write_artifact(folder, manifest, files, _not_inspected)


def _not_inspected(artifact: Artifact) -> None:
    """Artifacts take their place unchecked: a wrong one is what a report is for."""


def report_pair(job: Job, network: Network, artifact: Artifact) -> PairRow:
    """Everything about the pair whose artifact is there."""
    prepared = network.prepared(job)
    finding = examine(artifact, prepared)
    runs = finding.verdict != "compiled only"
    blocks, why_not = _block_differences(job, network, prepared, artifact) if runs else ({}, "it does not run here")
    finding = with_blocks(finding, blocks, job.precision)
    costs, costs_missing = _costs(artifact, runs)
    guess = predicted(network.request, job.target, job.precision)
    arena = artifact.manifest.facts.get("arena_bytes")
    return PairRow(
        network=network.source.name,
        target=job.target.name,
        precision=job.precision,
        verdict=finding.verdict,
        reason=finding.reason,
        note=finding.note,
        outputs=finding.outputs,
        blocks_not_compared=why_not,
        unit=costs.unit if costs else "",
        how=costs.how if costs else "",
        costs_missing=costs_missing,
        predicted_ms=guess.total_ms,
        predicted_chip=guess.chip,
        arena_bytes=arena if isinstance(arena, int) else None,
        file_bytes=artifact.file_bytes,
        blocks=tuple(_Rows(artifact, prepared.module, blocks, costs, guess).rows()),
    )


def refused_blocks(job: Job, network: Network) -> tuple[BlockRow, ...]:
    """What the backend says to every kernel of a pair that was refused; nothing where that cannot be asked."""
    try:
        module = network.prepared(job).module
        found = [(kernel, job.backend.why_not(kernel, job.target)) for kernel in kernels(module.graph)]
    except (MdcError, InternalError):
        return ()
    precision = _precisions(module)
    return tuple(
        BlockRow(
            block=block,
            kinds=tuple(kernel.kind for kernel, _ in found if kernel.block == block),
            precision=precision.get(block, ""),
            macs=sum(kernel.macs for kernel, _ in found if kernel.block == block),
            fallbacks=tuple(one_line(reason) for kernel, reason in found if kernel.block == block and reason),
        )
        for block in dict.fromkeys(kernel.block for kernel, _ in found)
    )


def _costs(artifact: Artifact, runs: bool) -> tuple[Costs | None, str]:
    """Costs, or why there are none: counting takes programs of the system, whose failure spoils no verdict.

    A backend's estimate needs no run.
    """
    try:
        found = costs_of(artifact, runs)
    except (MdcError, InternalError, OSError, SubprocessError) as error:
        return None, one_line(error)
    missing = "nothing counts or times its blocks here" if runs else "it does not run here"
    return found, "" if found else missing


def _block_differences(
    job: Job, network: Network, prepared: Prepared, artifact: Artifact
) -> tuple[dict[str, Difference], str]:
    """Block -> difference of what leaves it, and why there is none."""
    proof = block_proof(job.backend, artifact)
    if proof is not None:
        return {block: Difference(steps, allowed=PROVED_STEPS) for block, steps in proof.steps.items()}, ""
    if not network.options.blocks:
        return {}, "not asked for"
    taps = boundaries(prepared.module.graph)
    try:
        got = _tapped_values(job, network, prepared, tapped(prepared.copy(job.target), taps))
    except (MdcError, InternalError) as error:
        return {}, f"outputs only: {one_line(error)}"
    tolerance = tolerance_of(job.target.dtypes)
    return {block: difference(names, got, prepared.values, tolerance) for block, names in taps.items()}, ""


def _tapped_values(job: Job, network: Network, prepared: Prepared, module: Module) -> dict[str, NDArray[Any]]:
    """What the outputs of `module` are, also where the backend lets integers leave with their scale only."""
    try:
        return _run_build(job, network, prepared, Module.from_onnx(module.to_onnx(), job.target))
    except UnsupportedError:
        taps = make_real(module)
        if not taps:
            raise
        return integers_of(_run_build(job, network, prepared, module), taps)


def _run_build(job: Job, network: Network, prepared: Prepared, module: Module) -> dict[str, NDArray[Any]]:
    with scratch_folder("tapped") as folder:
        manifest, files = job.build(module, network.source, {})
        with Detector.open(write_artifact(folder / "tapped", manifest, files, _not_inspected)) as detector:
            return detector.run_by_own_names(prepared.check.inputs[0])


@dataclass
class _Rows:
    """The rows of the blocks: of the manifest's kernels, with what else is known of each."""

    artifact: Artifact
    module: Module
    differences: dict[str, Difference]
    costs: Costs | None
    guess: Predicted

    def rows(self) -> Iterable[BlockRow]:
        precision = _precisions(self.module)
        host, memory = _host_reasons(self.artifact), block_memory(self.module)
        for block in dict.fromkeys(kernel.block for kernel in self.artifact.manifest.kernels):
            inside = [kernel for kernel in self.artifact.manifest.kernels if kernel.block == block]
            difference = self.differences.get(block)
            reasons = (reason for kernel in inside for reason in (kernel.fallback or host.get(kernel.name),) if reason)
            yield BlockRow(
                block=block,
                kinds=tuple(kernel.kind for kernel in inside),
                precision=precision.get(block, ""),
                macs=sum(kernel.macs for kernel in inside),
                weight_bytes=memory[block].weight_bytes if block in memory else None,
                working_bytes=memory[block].working_bytes if block in memory else None,
                steps=difference.steps if difference else None,
                relative=difference.relative if difference else None,
                diverges=difference.diverges if difference else False,
                cost=self.costs.blocks.get(block) if self.costs else None,
                predicted_us=self.guess.blocks.get(block),
                fallbacks=tuple(one_line(reason) for reason in reasons),
            )


def _precisions(module: Module) -> dict[str, str]:
    """Block -> what its kernels compute in; those that only move or convert numbers do not count."""
    found: dict[str, Counter[str]] = {}
    for kernel in kernels(module.graph):
        if kernel.kind not in _BORDERS:
            word = "int8" if is_integer(kernel) else "fp32"
            if any("int16" in str(tensor.dtype) for tensor in kernel.outputs):
                word = "int16"
            found.setdefault(kernel.block, Counter())[word] += 1
    return {block: " + ".join(sorted(words)) for block, words in found.items()}


def _host_reasons(artifact: Artifact) -> dict[str, str]:
    """Kernel -> why an accelerator leaves it to its host: the fact `host` that a backend may state."""
    stated = artifact.manifest.facts.get("host")
    rows = [row for row in stated if isinstance(row, dict)] if isinstance(stated, list) else []
    return {str(row.get("kernel")): f"{row.get('operator')} on the host: {row.get('reason')}" for row in rows}

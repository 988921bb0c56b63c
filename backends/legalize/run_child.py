"""Legalisation in a child process that may die: jobs out, finished kernels or refusals back.

One child serves a whole batch (importing TVM costs two seconds). When it dies, the kernel it was at is
refused and a new child goes on with the rest.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdcompiler.backends.legalize.exchange import Job, is_answered, read_kernel, write_job, write_refusal
from mdcompiler.backends.legalize.legal_kernel import LegalKernel
from mdcompiler.backends.legalize.limits import why_not
from mdcompiler.backends.legalize.subgraph import subgraph
from mdcompiler.errors import InternalError, UnsupportedError
from mdcompiler.kernel import Kernel
from mdcompiler.names import identifier
from mdcompiler.operators import OPSET
from mdcompiler.scratch import scratch_folder

WORKER = "mdcompiler.backends.legalize.worker"
_START_SECONDS = 60
_KERNEL_SECONDS = 60
_KEPT_STDERR = 4000
_MOST_CHARACTERS = 200


@dataclass(frozen=True)
class Refusal:
    """A kernel that cannot be legalised, and why, as a sentence."""

    name: str
    reason: str


def legalize(
    kernel: Kernel, llvm_target: Mapping[str, Any], *, opset: int = OPSET, alignment_bytes: int = 64
) -> LegalKernel:
    """`legalize_all` for one kernel."""
    return legalize_all([kernel], llvm_target, opset=opset, alignment_bytes=alignment_bytes)[kernel.name]


def legalize_all(
    kernels: Sequence[Kernel], llvm_target: Mapping[str, Any], *, opset: int = OPSET, alignment_bytes: int = 64
) -> dict[str, LegalKernel]:
    """Every kernel as calls of plain functions, by the kernel's name.

    llvm_target: TVM target fields (kind, mtriple, mcpu …). opset: of the graph the kernels are from.
    alignment_bytes: what the caller promises of every buffer.
    Raises UnsupportedError with one line for each kernel that is refused.
    """
    results = try_legalize(kernels, llvm_target, opset=opset, alignment_bytes=alignment_bytes)
    refused = [result for result in results if isinstance(result, Refusal)]
    if refused:
        raise UnsupportedError("\n".join(result.reason for result in refused))
    return {result.name: result for result in results if isinstance(result, LegalKernel)}


def try_legalize(
    kernels: Sequence[Kernel],
    llvm_target: Mapping[str, Any],
    *,
    opset: int = OPSET,
    alignment_bytes: int = 64,
    worker: str = WORKER,
) -> list[LegalKernel | Refusal]:
    """As `legalize_all`, but each kernel's refusal stands in its place. worker: module the child runs."""
    with scratch_folder("legalize") as top:
        folders = [top / f"{index:06d}" for index in range(len(kernels))]
        for folder, kernel, prefix in zip(folders, kernels, _prefixes(kernels), strict=True):
            reason = why_not(kernel)
            if reason:
                folder.mkdir()
                write_refusal(folder, reason)
            else:
                job = Job(prefix, dict(llvm_target), alignment_bytes, kernel.macs)
                write_job(folder, job, subgraph(kernel, opset))
        _answer_all(top, folders, worker)
        return [_result(kernel, folder) for kernel, folder in zip(kernels, folders, strict=True)]


def _prefixes(kernels: Sequence[Kernel]) -> list[str]:
    """A C identifier for each kernel, all different; a linker need not take a symbol of any length."""
    found: dict[str, None] = {}
    for index, kernel in enumerate(kernels):
        wanted = identifier(kernel.name[:_MOST_CHARACTERS])
        while wanted in found:
            wanted = f"{wanted}_{index}"
        found[wanted] = None
    return list(found)


def _answer_all(root: Path, folders: Sequence[Path], worker: str) -> None:
    pending = [folder for folder in folders if not is_answered(folder)]
    while pending:
        end = _run_child(root, worker, _START_SECONDS + _KERNEL_SECONDS * len(pending))
        pending = [folder for folder in pending if not is_answered(folder)]
        if pending:
            write_refusal(pending.pop(0), f"TVM {end} at it")


def _run_child(root: Path, worker: str, seconds: int) -> str:
    """Run the worker over `root`; how it ended, in words.

    Raises InternalError when the worker itself failed: TVM's refusals never end it with a code above 0.
    """
    command = [sys.executable, "-m", worker, str(root)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"had not ended after {seconds} s"
    if done.returncode > 0:
        said = done.stderr.decode(errors="replace")[-_KEPT_STDERR:]
        raise InternalError(f"legalising in a child process: {worker} failed:\n{said}")
    return f"was ended by {signal.Signals(-done.returncode).name}" if done.returncode else "gave no answer"


def _result(kernel: Kernel, folder: Path) -> LegalKernel | Refusal:
    result = read_kernel(folder)
    if isinstance(result, LegalKernel):
        return result
    nodes = ", ".join(f"{node.name!r} ({node.op})" for node in kernel.nodes)
    return Refusal(
        kernel.name,
        f"kernel {kernel.name!r}, node {nodes}: {result.rstrip('.')}. "
        "Express it by other operators, or compile for the target `null`.",
    )

"""What a backend is, and what it hands over.

A backend serves one family of machines. It never edits the graph in `emit`: what must change is done
before by its own passes, where the pipeline can check them.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mdcompiler.progress import Progress
from mdcompiler.target import Target, missing_flags

if TYPE_CHECKING:  # loading an artifact needs backends, and neither ONNX nor graphs
    from mdcompiler.artifact import Artifact
    from mdcompiler.compile_pass import Pass
    from mdcompiler.kernel import Kernel
    from mdcompiler.module import Module

Arrays = Mapping[str, NDArray[Any]]


class Runnable(Protocol):
    """A loaded artifact. Safe to call from several threads."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name. Inputs are checked by the caller for name, shape and dtype."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Emission:
    """What `emit` produced: files by name, and facts for the manifest.

    facts has at least `arena_bytes`; a backend adds what its users ask for.
    """

    files: dict[str, bytes]
    facts: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Backend(Protocol):
    """One family of machines."""

    name: str

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        """None when the backend has a kernel of its own for `kernel`, else the reason as a sentence."""
        ...

    def passes(self, target: Target) -> Sequence[Pass]:
        """The backend's own passes, in order; each runs in the stage it names."""
        ...

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        """Compile `module` to files. Never edits the graph.

        threads: how many processes may compile at once.
        """
        ...

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        """Open an emitted directory.

        `manifest["files"]` has the hashes: read files with `mdcompiler.artifact.listed_bytes` and use those bytes, for
        a file may change after it was compared.
        """
        ...


@dataclass(frozen=True)
class Costs:
    """What one run of a compiled network takes.

    unit: e.g. `ms` or `packets`; how: measured, counted or estimated; blocks: block -> amount, in order of execution.
    """

    unit: str
    how: str
    blocks: dict[str, float]


def block_costs(backend: Backend, artifact: Artifact) -> Costs | None:
    """What each block of `artifact` costs, where its backend has a method `block_costs(artifact)`; else None."""
    own = getattr(backend, "block_costs", None)
    found: Costs | None = own(artifact) if own is not None else None
    return found


@dataclass(frozen=True)
class MemoryRow:
    """What one block keeps in one kind of memory, and what it moves there in one run. what: for the reader."""

    block: str
    memory: str
    kept_bytes: int
    moved_bytes: int
    what: str


def memory_rows(backend: Backend, module: Module) -> list[MemoryRow]:
    """The memory plan of a placed `module`, where its backend has a method `memory_rows(module)`; else nothing."""
    own = getattr(backend, "memory_rows", None)
    found: list[MemoryRow] = own(module) if own is not None else []
    return found


@dataclass(frozen=True)
class Proof:
    """How far a machine whose rounding is its own is from the integer reference, operation by operation.

    steps: block -> largest difference of a result, in steps of its scale, when both compute from the same integers;
    share: of all elements, how many differ.
    """

    steps: dict[str, int]
    share: float


def block_proof(backend: Backend, artifact: Artifact) -> Proof | None:
    """What was proved of `artifact`, where its backend has a method `block_proof(artifact)`; None where integers are
    to be equal."""
    own = getattr(backend, "block_proof", None)
    found: Proof | None = own(artifact) if own is not None else None
    return found


def check_ready(backend: Backend, target: Target) -> None:
    """Raise MissingToolError or TargetError when `backend` cannot compile for `target` here, whatever the network.

    A backend that needs packages says so in a method `check_ready(target)` that it may have. It is asked before
    anything is read: calibrating a network that cannot be compiled takes minutes.
    """
    own = getattr(backend, "check_ready", None)
    if own is not None:
        own(target)


def shows_head(backend: Backend) -> bool:
    """Whether what `backend` loads has a method `run_with_head`, which gives the raw head of a detector beside its
    outputs: encodings and scores before suppression, under the names in `mdcompiler.head_check`."""
    return bool(getattr(backend, "shows_head", False))


def rounding_kernels(backend: Backend, module: Module, inputs: Arrays) -> list[str]:
    """Kernels of a placed `module` that round more than a direct sum does, the worst in its layer first.

    A backend that has such kernels, and leaves those with the mark `mdc.direct` direct, says so in a method
    `rounding_kernels(module, inputs)` that it may have; inputs: what the layers are judged on.
    """
    own = getattr(backend, "rounding_kernels", None)
    found: list[str] = own(module, inputs) if own is not None else []
    return found


def why_not_run(backend: Backend, target: Target) -> str:
    """Why this machine cannot run what `backend` compiles for `target`, as a sentence; "" when it can.

    A backend that brings an emulator or a device says so itself, in a method `why_not_run(target)` that it may have.
    """
    own = getattr(backend, "why_not_run", None)
    if own is not None:
        return str(own(target))
    missing = missing_flags(target)
    if not missing and _may_load(target.zig):
        return ""
    return (
        f"{target.name} needs {', '.join(missing) or target.zig}; this machine lacks that. "
        "Compile for another target: `mdc targets` lists them, `cpu` is this machine."
    )


def _may_load(triple: str) -> bool:
    """Whether a library linked for the zig target `triple` may fit this process; "" is this machine."""
    machine, _, rest = triple.partition("-")
    return not triple or (machine == platform.machine() and "-gnu" in rest)


def input_specs(module: Module) -> list[dict[str, Any]]:
    """Name, shape, dtype and domain of the graph's inputs as the manifest states them."""
    from mdcompiler.input_domain import domain_of

    rows = []
    for tensor in module.graph.inputs:
        domain = domain_of(tensor)
        bounds = {} if domain is None else {"low": float(domain[0]), "high": float(domain[1])}
        rows.append({**_tensor_spec(tensor), **bounds})
    return rows


def output_specs(module: Module) -> list[dict[str, Any]]:
    """Name, shape and dtype of the graph's outputs as the manifest states them."""
    return [_tensor_spec(tensor) for tensor in module.graph.outputs]


def _tensor_spec(tensor: Any) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "shape": [int(extent) for extent in tensor.shape],
        "dtype": str(np.dtype(tensor.dtype)),
    }

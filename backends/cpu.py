"""The backend for CPUs: a plain C library with kernels of our own, for any target that LLVM knows.

    graph -> choose-layout -> kernels as TIR -> objects   \\
                           -> calls, arena, constants -> C -> model.so, model.h

What has no template is legalised by TVM and called the same way. Nothing of TVM or Python is in the
library, and running one imports no compiler: what compiles is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdcompiler.backend import Arrays, Emission, Runnable
from mdcompiler.backends.clib.library import open_listed

if TYPE_CHECKING:  # none of it is needed to run an artifact
    from mdcompiler.compile_pass import Pass
    from mdcompiler.kernel import Kernel
    from mdcompiler.module import Module
    from mdcompiler.progress import Progress
    from mdcompiler.target import Target
    from mdcompiler.tuning.tunable import Tuner

PREFIX = "model"
"""Of the files and C functions of a model."""


class CpuBackend:
    """Compiles to `model.so` with the C interface `model.h`."""

    name = "cpu"
    shows_head = True

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        from mdcompiler.backends.kernels.select import why_not

        return why_not(kernel, target.lanes)

    def passes(self, target: Target) -> Sequence[Pass]:
        from mdcompiler.backends.clib.choose_layout import ChooseLayout

        return (ChooseLayout(lanes=target.lanes),)

    def tuner(self) -> Tuner:
        from mdcompiler.backends.clib.tune_kernels import KernelTuner

        return KernelTuner()

    def rounding_kernels(self, module: Module, inputs: Arrays) -> list[str]:
        from mdcompiler.backends.clib.winograd_error import winograd_kernels

        return winograd_kernels(module, inputs)

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        from mdcompiler.backends.clib.emit_library import emit_library

        return emit_library(module, progress, threads, PREFIX)

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        return open_listed(directory, manifest, f"{PREFIX}.so", threads)

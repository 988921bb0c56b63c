"""The backend for NVIDIA GPUs: a plain C library over the CUDA driver, its kernels as machine code and PTX.

    graph -> kernels as TIR -> CUDA C -> PTX -> cubin       \\
          -> launches, arena, constants -> C (driver API)  -> model.so, model.h, model_run

No CUDA and no GPU is needed to compile, and nothing but NVIDIA's driver on the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdcompiler.artifact import Artifact
from mdcompiler.backend import Costs, Emission, Runnable
from mdcompiler.backends.clib.library import open_listed
from mdcompiler.backends.cuda import machine
from mdcompiler.compile_pass import Pass
from mdcompiler.kernel import Kernel
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.target import Target

PREFIX = "model"
"""Of the files and C functions of a model."""


class CudaBackend:
    """Compiles to `model.so` with the C interface `model.h`, and `model_run`."""

    name = "cuda"

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        from mdcompiler.backends.gpu.limits import why_not
        from mdcompiler.backends.gpu.traits import traits_of

        return why_not(kernel, traits_of(target))

    def why_not_run(self, target: Target) -> str:
        """Why what is compiled for `target` cannot run here; "" when it can."""
        return machine.why_not_run(target)

    def check_ready(self, target: Target) -> None:
        """Raise MissingToolError without NVIDIA's compilers, TargetError when the target names no chip."""
        from mdcompiler.backends.cuda.toolchain import find_toolchain

        machine.wanted_capability(target)
        find_toolchain()

    def block_costs(self, artifact: Artifact) -> Costs | None:
        """A roofline; None where the GPU is here, so that time is measured, and for a chip that is not known."""
        from mdcompiler.backends.cuda.costs import estimated_costs

        return estimated_costs(artifact) if self.why_not_run(artifact.manifest.target) else None

    def passes(self, target: Target) -> Sequence[Pass]:
        from mdcompiler.backends.clib.choose_layout import ChooseLayout
        from mdcompiler.backends.gpu.function import LANES

        return (ChooseLayout(lanes=LANES),)

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        from mdcompiler.backends.cuda.emit import emit_model

        return emit_model(module, progress, threads, PREFIX)

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        return open_listed(directory, manifest, f"{PREFIX}.so", threads)

"""The backend for WebGPU: browsers, and every GPU that Vulkan, Metal or Direct3D 12 drives.

    graph -> choose-layout [C/4][H][W][4] -> kernels as thread-bound TIR -> model.wgsl
                                          -> launches, arena, weights    -> model.json, weights.bin, run.mjs

The same kernels are compiled to CUDA for NVIDIA's GPUs. What runs in a browser runs here through the package wgpu.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdcompiler.artifact import Artifact
from mdcompiler.backend import Costs, Emission, Runnable
from mdcompiler.compile_pass import Pass
from mdcompiler.kernel import Kernel
from mdcompiler.module import Module
from mdcompiler.names import block_of
from mdcompiler.progress import Progress
from mdcompiler.target import Target


class WebGpuBackend:
    """Compiles to WGSL with a description for any host, and a host in JavaScript."""

    name = "webgpu"

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        from mdcompiler.backends.gpu.limits import why_not
        from mdcompiler.backends.gpu.traits import traits_of

        return why_not(kernel, traits_of(target))

    def why_not_run(self, target: Target) -> str:
        """Why what is compiled for `target` cannot run here; "" when it can."""
        from mdcompiler.backends.gpu.traits import traits_of
        from mdcompiler.backends.webgpu.device import why_not_run

        return why_not_run(traits_of(target).element == "float16")

    def block_costs(self, artifact: Artifact) -> Costs:
        """Clocks of one of eight multiprocessors, as the model that chose the tiles estimates them."""
        from mdcompiler.backends.webgpu.description import DESCRIPTION_FILE, parse_description

        clocks: dict[str, float] = {}
        for launch in parse_description(artifact.read(DESCRIPTION_FILE), artifact.directory).launches:
            block = block_of(launch.kernel) or launch.kernel
            clocks[block] = clocks.get(block, 0.0) + launch.clocks
        return Costs("clocks", "estimated", clocks)

    def passes(self, target: Target) -> Sequence[Pass]:
        from mdcompiler.backends.clib.choose_layout import ChooseLayout
        from mdcompiler.backends.gpu.function import LANES

        return (ChooseLayout(lanes=LANES),)

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        from mdcompiler.backends.webgpu.emit import emit_model

        return emit_model(module, progress, threads)

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        from mdcompiler.backends.webgpu.runnable import WebGpuModel

        return WebGpuModel(directory, manifest)

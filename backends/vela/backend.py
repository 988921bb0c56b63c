"""The backend for Arm Ethos-U: the same `.tflite` file as for the Edge TPU, compiled by Arm's Vela.

    quantized graph -> model.tflite -> vela -> model_vela.tflite, estimated cycles of every kernel -> manifest

A target's name is Vela's accelerator configuration. `model.tflite` runs anywhere with LiteRT and is what `load` opens;
`model_vela.tflite` runs on the device, with TensorFlow Lite Micro and the Ethos-U driver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdcompiler.artifact import Artifact
from mdcompiler.backend import Costs, Emission, Runnable
from mdcompiler.progress import Progress
from mdcompiler.target import Target

if TYPE_CHECKING:
    from mdcompiler.compile_pass import Pass
    from mdcompiler.kernel import Kernel
    from mdcompiler.module import Module


class VelaBackend:
    """Writes files for Ethos-U; needs the extra `vela`."""

    name = "vela"

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        from mdcompiler.backends.vela.why_not import why_not

        return why_not(kernel)

    def check_ready(self, target: Target) -> None:
        """Raises MissingToolError without the extra `vela`, UnsupportedError for an accelerator that it has not."""
        from mdcompiler.backends.tflite.litert import schema
        from mdcompiler.backends.vela.vela import check_vela

        schema()
        check_vela(target.name)

    def passes(self, target: Target) -> Sequence[Pass]:
        return ()

    def block_costs(self, artifact: Artifact) -> Costs:
        """Cycles that Vela estimates; what the host runs counts as none."""
        from mdcompiler.backends.vela.report import block_cycles

        return Costs("cycles", "estimated", dict(block_cycles(artifact.manifest.facts)))

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        from mdcompiler.backends.vela.emit import emit

        return emit(module, progress)

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        from mdcompiler.backends.tflite.runnable import open_listed

        return open_listed(directory, manifest, "model.tflite", threads)

"""The backend for Google's Edge TPU (Coral): a quantized `.tflite` file, checked against the chip's limits.

    quantized graph -> TFLite operators -> model.tflite -> [edgetpu_compiler -> model_edgetpu.tflite]
                                        -> predicted mapping, memory plan -> manifest

`model.tflite` also runs on any processor with LiteRT, bit for bit as the integer reference says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdcompiler.backend import Emission, Runnable
from mdcompiler.progress import Progress
from mdcompiler.target import Target

if TYPE_CHECKING:
    from mdcompiler.compile_pass import Pass
    from mdcompiler.kernel import Kernel
    from mdcompiler.module import Module


class EdgeTpuBackend:
    """Writes TFLite files; needs the extra `edgetpu`."""

    name = "edgetpu"

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        from mdcompiler.backends.edgetpu.why_not import why_not

        return why_not(kernel)

    def check_ready(self, target: Target) -> None:
        """Raises MissingToolError without the extra `edgetpu`."""
        from mdcompiler.backends.tflite.litert import schema

        schema()

    def passes(self, target: Target) -> Sequence[Pass]:
        return ()

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        from mdcompiler.backends.edgetpu.emit import emit

        return emit(module, progress)

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        from mdcompiler.backends.tflite.runnable import open_listed

        return open_listed(directory, manifest, "model.tflite", threads)

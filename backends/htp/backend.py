"""The backend for Qualcomm's Hexagon Tensor Processor: a QNN context binary, made and emulated by onnxruntime-qnn.

    quantized graph -> lower-clamps -> the unit's part  -> QNN -> model_qnn.bin, model.onnx -> emulator -> manifest
                                    -> the processor's part    -> host.onnx

Each operation is at most one step of its scale from the integer reference, or nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdcompiler.artifact import Artifact
from mdcompiler.backend import Emission, Proof, Runnable
from mdcompiler.progress import Progress
from mdcompiler.target import Target

if TYPE_CHECKING:
    from mdcompiler.compile_pass import Pass
    from mdcompiler.kernel import Kernel
    from mdcompiler.module import Module


class HtpBackend:
    """Writes context binaries; needs the extra `htp`."""

    name = "htp"

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        from mdcompiler.backends.htp.limits import why_not

        return why_not(kernel)

    def check_ready(self, target: Target) -> None:
        """Raises TargetError for a Hexagon version without HTP, MissingToolError without the extra `htp`."""
        from mdcompiler.backends.htp.archs import archs_of
        from mdcompiler.backends.htp.qnn import check_installed

        archs_of(target)
        check_installed()

    def why_not_run(self, target: Target) -> str:
        """Why the emulator cannot run here what is compiled for `target`; "" when it can."""
        from mdcompiler.backends.htp.qnn import why_missing

        return why_missing()

    def block_proof(self, artifact: Artifact) -> Proof | None:
        """How far each block was from the integer reference on the emulator when the artifact was made."""
        from mdcompiler.backends.htp.proof import block_proof

        return block_proof(artifact.manifest.facts)

    def passes(self, target: Target) -> Sequence[Pass]:
        from mdcompiler.backends.htp.lower_clamps import LowerClamps

        return (LowerClamps(),)

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        from mdcompiler.backends.htp.emit import emit

        return emit(module, progress)

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        from mdcompiler.backends.htp.runnable import open_runnable

        return open_runnable(directory, manifest)

"""The backend without a device: the artifact is the graph, and the ONNX reference runs it.

The whole toolkit can be tested with it anywhere, and a third-party backend can be compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mdcompiler.artifact import listed_bytes
from mdcompiler.backend import Arrays, Emission, Runnable
from mdcompiler.progress import Progress
from mdcompiler.target import Target

if TYPE_CHECKING:
    from mdcompiler.compile_pass import Pass
    from mdcompiler.kernel import Kernel
    from mdcompiler.module import Module

_FILE = "model.onnx"


class NullBackend:
    """Runs everything on the ONNX reference evaluator."""

    name = "null"

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        return None

    def passes(self, target: Target) -> Sequence[Pass]:
        return ()

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        return Emission({_FILE: module.to_onnx().SerializeToString()}, {"arena_bytes": 0})

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        import onnx

        from mdcompiler.arbiter import reference_of
        from mdcompiler.module import Module
        from mdcompiler.target import find_target

        model = onnx.load_model_from_string(listed_bytes(directory, manifest, _FILE))
        module = Module.from_onnx(model, find_target("null"))
        return ReferenceRunnable(reference_of(module, [value.name for value in model.graph.output]))


@dataclass
class ReferenceRunnable:
    """A network under its arbiter: ONNX's reference for floats, the integer reference once it is quantized."""

    reference: Callable[[dict[str, NDArray[Any]]], Arrays]

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        return dict(self.reference(dict(inputs)))

    def close(self) -> None:
        """Nothing to release."""

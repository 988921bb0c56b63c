"""Running an artifact for HTP here: the unit's part on QNN's emulator, the processor's part by the ONNX reference.

The emulator opens no binary of several Hexagon versions. Of such an artifact the first version's part is compiled again
from the network beside it, which gives the bytes that were proved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from mdcompiler.artifact import listed_bytes
from mdcompiler.backend import Arrays
from mdcompiler.backends.htp.archs import SOC_MODELS, qnn_options
from mdcompiler.backends.htp.qnn import (
    CONTEXT_BINARY,
    CONTEXT_MODEL,
    Context,
    check_installed,
    compile_context,
    run_context,
)
from mdcompiler.errors import ArtifactError

if TYPE_CHECKING:
    import onnx

HOST_MODEL, SOURCE_MODEL = "host.onnx", "network.onnx"
"""The processor's part, and what the binary was compiled from."""


@dataclass(frozen=True)
class SplitRunnable:
    """A network in two parts. inputs, handed: names of the tensors that go into the unit and come out of it.

    outputs: of the network. host: what the processor does, None when it is nothing. Every call emulates in a process
    of its own, so any number of threads may call.
    """

    context: Context
    host: onnx.ModelProto | None
    inputs: tuple[str, ...]
    handed: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name; see `mdcompiler.backend.Runnable`."""
        return self.finish(inputs, self.emulate(inputs))

    def emulate(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """What the unit hands over, by name."""
        found = run_context(self.context, [inputs[name] for name in self.inputs], len(self.handed))
        return dict(zip(self.handed, found, strict=True))

    def finish(self, inputs: Arrays, handed: Arrays) -> dict[str, NDArray[Any]]:
        """The network's outputs from what the unit handed over."""
        from mdcompiler.reference import run_reference

        values = {**inputs, **handed}
        if self.host is not None:
            read = [item.name for item in self.host.graph.input]
            values.update(run_reference(self.host, {name: values[name] for name in read}))
        return {name: values[name] for name in self.outputs}

    def close(self) -> None:
        """Nothing to release."""


def open_runnable(directory: Path, manifest: Mapping[str, Any]) -> SplitRunnable:
    """Open an artifact. Raises MissingToolError without QNN, ArtifactError when the manifest lacks the names."""
    check_installed()
    facts = manifest["facts"]
    inputs, handed = _names(facts, "unit_inputs"), _names(facts, "unit_outputs")
    read = partial(listed_bytes, directory, manifest)
    context = _context(read, _archs(facts))
    outputs = tuple(str(entry["name"]) for entry in manifest["outputs"])
    return SplitRunnable(context, _host(manifest, read), inputs, handed, outputs)


def _context(read: Callable[[str], bytes], archs: tuple[int, ...]) -> Context:
    if len(archs) > 1:
        return compile_context(read(SOURCE_MODEL), qnn_options(archs[:1]))
    return Context(read(CONTEXT_MODEL), read(CONTEXT_BINARY))


def _archs(facts: Mapping[str, Any]) -> tuple[int, ...]:
    found = facts.get("archs")
    if not isinstance(found, Sequence) or not found or not set(found) <= set(SOC_MODELS):
        raise ArtifactError(f"opening an artifact for HTP: its fact `archs` is {found!r}. Compile the network again.")
    return tuple(found)


def _names(facts: Mapping[str, Any], key: str) -> tuple[str, ...]:
    found = facts.get(key)
    if not isinstance(found, Sequence) or not found or not all(isinstance(name, str) for name in found):
        raise ArtifactError(f"opening an artifact for HTP: its fact `{key}` lists no names. Compile the network again.")
    return tuple(found)


def _host(manifest: Mapping[str, Any], read: Callable[[str], bytes]) -> onnx.ModelProto | None:
    import onnx

    listed = any(row["name"] == HOST_MODEL for row in manifest["files"])
    return onnx.load_model_from_string(read(HOST_MODEL)) if listed else None

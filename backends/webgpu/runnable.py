"""A compiled network on a WebGPU device of this machine."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdcompiler.artifact import listed_bytes
from mdcompiler.backends.webgpu.description import (
    DESCRIPTION_FILE,
    SHADER_FILE,
    WEIGHTS_FILE,
    Port,
    Postprocess,
    parse_description,
)
from mdcompiler.backends.webgpu.device import Dispatch, Session, Span, Storage
from mdcompiler.detections import postprocess
from mdcompiler.errors import ArtifactError
from mdcompiler.inputs import checked_inputs
from mdcompiler.manifest import TensorSpec
from mdcompiler.postprocess_options import PostprocessOptions


class WebGpuModel:
    """One loaded artifact; calls from several threads wait for each other.

    inputs, outputs: as the manifest states them. Raises ArtifactError for files that do not fit each other,
    MissingToolError without a device.
    """

    def __init__(self, directory: Path, manifest: Mapping[str, Any]) -> None:
        read = partial(listed_bytes, directory, manifest)
        self._description = parse_description(read(DESCRIPTION_FILE), directory)
        self._inputs = [TensorSpec.model_validate(item) for item in manifest["inputs"]]
        self._outputs = [str(item["name"]) for item in manifest["outputs"]]
        self._lock = threading.Lock()
        weights = read(WEIGHTS_FILE)
        if len(weights) != self._description.weights_bytes:
            raise ArtifactError(f"opening {directory}: {WEIGHTS_FILE} has {len(weights)} bytes. Compile it again.")
        self._anchors = _anchors(weights, self._description.postprocess)
        self._session = self._open(read(SHADER_FILE).decode(), weights)

    def _open(self, code: str, weights: bytes) -> Session:
        storages = {
            "weights": Storage(len(weights), weights),
            "arena": Storage(self._description.arena_bytes),
        }
        dispatches = [
            Dispatch(
                code,
                launch.entry,
                launch.workgroups,
                tuple(Span(item.buffer, item.offset, item.size) for item in launch.bindings),
            )
            for launch in self._description.launches
        ]
        return Session(storages, dispatches)

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises InputError when `inputs` do not fit."""
        arrays = checked_inputs(self._inputs, inputs)
        uploads = [(_span(port), arrays[port.name].tobytes()) for port in self._description.inputs]
        ports = self._description.outputs
        with self._lock:
            contents = self._session.run(uploads, [_span(port) for port in ports])
        made = {port.name: _array(content, port) for port, content in zip(ports, contents, strict=True)}
        made.update(self._detections(made))
        return {name: made[name] for name in self._outputs}

    def _detections(self, made: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        entry = self._description.postprocess
        if entry is None:
            return {}
        options = PostprocessOptions.from_attributes(entry.model_dump(), regular=entry.regular)
        found = postprocess(made[entry.encodings], made[entry.scores], self._anchors, options)
        return dict(zip(entry.outputs, (found[name] for name in ("boxes", "classes", "scores", "count")), strict=True))

    def close(self) -> None:
        """Release the device's memory."""
        with self._lock:
            self._session.close()


def _anchors(weights: bytes, entry: Postprocess | None) -> NDArray[Any]:
    if entry is None:
        return np.zeros((0, 4), np.float32)
    return np.frombuffer(weights, np.float32, entry.anchors.count * 4, entry.anchors.offset).reshape(-1, 4)


def _span(port: Port) -> Span:
    return Span("arena", port.offset, int(np.prod(port.shape)) * np.dtype(port.dtype).itemsize)


def _array(content: bytes, port: Port) -> NDArray[Any]:
    return np.frombuffer(content, port.dtype).reshape(port.shape).copy()

"""WGSL on this machine's GPU, or on a software one, through the package `wgpu`.

A `Session` keeps buffers and pipelines; one run uploads, dispatches in order and reads back. A device asks for no more
than WebGPU promises everywhere, so what runs here needs no better one.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.gpu.build import Shader
from mdcompiler.errors import InternalError, MissingToolError

_INSTALL_WGPU = "pip install mdcompiler[webgpu]"
_INSTALL_VULKAN = "apt-get install mesa-vulkan-drivers libvulkan1"
_WORD_BYTES = 4
_HALF = "shader-f16"
_RUNTIME_FOLDER = "XDG_RUNTIME_DIR"
_LIMITS = {
    "max-compute-invocations-per-workgroup": 256,
    "max-compute-workgroup-storage-size": 16384,
    "max-storage-buffers-per-shader-stage": 8,
    "max-storage-buffer-binding-size": 128 * 1024 * 1024,
    "min-storage-buffer-offset-alignment": 256,
}
"""What every WebGPU device grants (W3C WebGPU, section 3.6.2)."""


@dataclass(frozen=True)
class Span:
    """Part of a buffer: what one binding shows. offset_bytes: a multiple of 256."""

    buffer: str
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True)
class Dispatch:
    """One kernel with what it works on. code: WGSL with the entry point `entry`; bindings: by number.

    grid: workgroups, none of the three more than 65535.
    """

    code: str
    entry: str
    grid: tuple[int, int, int]
    bindings: tuple[Span, ...]


@dataclass(frozen=True)
class Storage:
    """A buffer: its size, rounded up to whole vectors, and the bytes it starts with."""

    size_bytes: int
    content: bytes = b""


def why_not_run(half: bool = False) -> str:
    """Why no WebGPU device can be opened here, and what to install; "" when one can. half: one with float16."""
    try:
        adapter = _adapter()
    except MissingToolError as error:
        return str(error)
    if half and _HALF not in adapter.features:
        return f"the GPU {adapter.info['device']} does not compute in float16 ({_HALF}). Compile for target webgpu."
    return ""


@lru_cache(maxsize=1)
def _adapter() -> Any:
    """The best adapter. Raises MissingToolError naming what to install."""
    try:
        import wgpu
    except ImportError as error:
        raise MissingToolError(f"running WGSL needs the package wgpu: {_INSTALL_WGPU}") from error
    try:
        with _runtime_folder():
            found = wgpu.gpu.request_adapter_sync(power_preference="high-performance")
    except Exception as error:  # wgpu raises what its native library says: there is no common class
        raise MissingToolError(_no_adapter(str(error))) from error
    if found is None:
        raise MissingToolError(_no_adapter("none was offered"))
    return found


@contextmanager
def _runtime_folder() -> Iterator[None]:
    """A folder for libwayland, which Vulkan drivers ask although nothing is shown: without one it prints errors."""
    if _RUNTIME_FOLDER in os.environ:
        yield
        return
    os.environ[_RUNTIME_FOLDER] = tempfile.gettempdir()
    try:
        yield
    finally:
        del os.environ[_RUNTIME_FOLDER]


def _no_adapter(reason: str) -> str:
    return (
        f"running WGSL needs a GPU with a Vulkan, Metal or Direct3D 12 driver ({reason.splitlines()[0]}). Without one, "
        f"a software Vulkan device does: {_INSTALL_VULKAN} (and {_INSTALL_WGPU})"
    )


@lru_cache(maxsize=1)
def open_device() -> Any:
    """A wgpu device, one for the process. Raises MissingToolError when there is none."""
    adapter = _adapter()
    features = [_HALF] if _HALF in adapter.features else []
    return adapter.request_device_sync(required_features=features, required_limits=_LIMITS)


def forget_adapter() -> None:
    """Look for a GPU anew when one is needed next."""
    _adapter.cache_clear()
    open_device.cache_clear()


class Session:
    """Buffers and pipelines of a list of dispatches. Not safe for several threads at once.

    Raises MissingToolError when there is no device, InternalError for WGSL that the device refuses.
    """

    def __init__(self, storages: Mapping[str, Storage], dispatches: Sequence[Dispatch]) -> None:
        self._device = open_device()
        self._buffers = {name: self._buffer(storage) for name, storage in storages.items()}
        self._modules: dict[str, Any] = {}
        self._pipelines: dict[tuple[str, str], Any] = {}
        self._steps = [(self._pipeline(item), self._bind(item), item.grid) for item in dispatches]

    def run(self, uploads: Sequence[tuple[Span, bytes]], downloads: Sequence[Span]) -> list[bytes]:
        """Write `uploads`, run all dispatches, return the content of `downloads`."""
        for span, content in uploads:
            self._device.queue.write_buffer(self._buffers[span.buffer], span.offset_bytes, _words(content))
        encoder = self._device.create_command_encoder()
        if self._steps:
            compute = encoder.begin_compute_pass()
            for pipeline, group, grid in self._steps:
                compute.set_pipeline(pipeline)
                compute.set_bind_group(0, group)
                compute.dispatch_workgroups(*grid)
            compute.end()
        self._device.queue.submit([encoder.finish()])
        return [self._read(span) for span in downloads]

    def close(self) -> None:
        """Release the buffers."""
        for buffer in self._buffers.values():
            buffer.destroy()
        self._steps, self._buffers = [], {}

    def _read(self, span: Span) -> bytes:
        size = -(-span.size_bytes // _WORD_BYTES) * _WORD_BYTES
        data = self._device.queue.read_buffer(self._buffers[span.buffer], span.offset_bytes, size)
        return bytes(data)[: span.size_bytes]

    def _buffer(self, storage: Storage) -> Any:
        import wgpu

        usage = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_DST | wgpu.BufferUsage.COPY_SRC
        size = -(-max(storage.size_bytes, 16) // 16) * 16
        buffer = self._device.create_buffer(size=size, usage=usage)
        if storage.content:
            self._device.queue.write_buffer(buffer, 0, _words(storage.content))
        return buffer

    def _pipeline(self, item: Dispatch) -> Any:
        key = (item.code, item.entry)
        if key not in self._pipelines:
            try:
                if item.code not in self._modules:
                    self._modules[item.code] = self._device.create_shader_module(code=item.code)
                stage = {"module": self._modules[item.code], "entry_point": item.entry}
                self._pipelines[key] = self._device.create_compute_pipeline(layout="auto", compute=stage)
            except Exception as error:  # wgpu's own classes vary with its version
                raise InternalError(f"the WGSL of {item.entry} was refused: {error}") from error
        return self._pipelines[key]

    def _bind(self, item: Dispatch) -> Any:
        entries = [
            {
                "binding": number,
                "resource": {
                    "buffer": self._buffers[span.buffer],
                    "offset": span.offset_bytes,
                    "size": -(-span.size_bytes // 16) * 16,
                },
            }
            for number, span in enumerate(item.bindings)
        ]
        layout = self._pipeline(item).get_bind_group_layout(0)
        return self._device.create_bind_group(layout=layout, entries=entries)


def run_kernel(shader: Shader, arrays: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> None:
    """Run one kernel whose parameters are `arrays`, then `outputs`, which are filled."""
    storages = {
        str(number): Storage(array.nbytes, np.ascontiguousarray(array).tobytes())
        for number, array in enumerate((*arrays, *outputs))
    }
    spans = tuple(Span(name, 0, storage.size_bytes) for name, storage in storages.items())
    session = Session(storages, [Dispatch(shader.code, shader.symbol, shader.launch.grid, spans)])
    try:
        contents = session.run([], spans[len(arrays) :])
    finally:
        session.close()
    for output, content in zip(outputs, contents, strict=True):
        output[...] = np.frombuffer(content, output.dtype).reshape(output.shape)


def _words(content: bytes) -> bytes:
    return content + bytes(-len(content) % _WORD_BYTES)

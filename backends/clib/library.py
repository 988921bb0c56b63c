"""A compiled C library under Python: ctypes over the functions that its `model.h` declares.

Weights stay in the library's own pages and are shared by all calls. Every running call has a context
(arena and threads) of its own, so the object may be used from several threads at once.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdcompiler.artifact import listed_bytes
from mdcompiler.backends.clib.contexts import Contexts
from mdcompiler.backends.clib.head_tap import read_head
from mdcompiler.backends.clib.library_functions import Functions
from mdcompiler.errors import InternalError
from mdcompiler.inputs import checked_inputs
from mdcompiler.manifest import TensorSpec

ALIGNMENT_BYTES = 64
"""Of every buffer handed to the library: what vector loads of its kernels may assume."""


class SharedLibrary:
    """One loaded `model.so`.

    inputs, outputs: name, shape and dtype of the tensors as the manifest states them, in the order of the C
    parameters; they are compared with what the library says. threads: of one call. content: the library, where it was
    read already. Raises ArtifactError when the file is no such library.
    """

    def __init__(
        self,
        path: Path,
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]],
        threads: int = 1,
        prefix: str = "model_",
        content: bytes | None = None,
    ) -> None:
        self._inputs = [TensorSpec.model_validate(item) for item in inputs]
        self._outputs = [TensorSpec.model_validate(item) for item in outputs]
        functions = Functions.open(path, prefix, self._inputs, self._outputs, content)
        self._functions = functions
        self._arena_bytes = int(functions.arena_bytes())
        self._kernel_names = [functions.kernel_name(i).decode() for i in range(int(functions.kernel_count()))]
        self._contexts = Contexts(functions, threads)
        self._collected = weakref.finalize(self, self._contexts.close)
        self._collected.atexit = False  # threads may still be running networks then, and the process takes all with it

    @property
    def arena_bytes(self) -> int:
        """Memory that one call works in, the weights left out."""
        return self._arena_bytes

    def kernel_names(self) -> list[str]:
        """The kernels in the order in which they run."""
        return list(self._kernel_names)

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises InputError when `inputs` do not fit."""
        return self._call("run", inputs)

    def run_with_head(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Outputs by name and, of a detector, the raw head that they were made of."""
        head: dict[str, NDArray[Any]] = {}
        return {**self._call("run", inputs, head=head), **head}

    def profile(self, inputs: Mapping[str, ArrayLike]) -> list[tuple[str, int]]:
        """One run with a clock read around every kernel: (kernel, nanoseconds) in order of execution."""
        names = self.kernel_names()
        spent = np.zeros(len(names), np.uint64)
        self._call("profile", inputs, _pointer(spent))
        return list(zip(names, spent.tolist(), strict=True))

    def close(self) -> None:
        """Release the contexts and the library; what is running is released when its call ends."""
        self._contexts.close()

    def _call(
        self,
        name: str,
        inputs: Mapping[str, ArrayLike],
        *extra: ctypes.c_void_p,
        head: dict[str, NDArray[Any]] | None = None,
    ) -> dict[str, NDArray[Any]]:
        arrays = [_aligned(array) for array in checked_inputs(self._inputs, inputs).values()]
        outputs = {item.name: _empty(item.shape, np.dtype(item.dtype)) for item in self._outputs}
        tensors = [_pointer(array) for array in (*arrays, *outputs.values())]
        with self._contexts.taken() as context:
            status = getattr(self._functions, name)(context, *tensors, *extra)
            reason = self._functions.reason() if status else ""
            if not status and head is not None and self._functions.head is not None:
                head.update(read_head(self._functions.head, context))
        if status:
            raise InternalError(
                f"the compiled library failed with status {status}; send the artifact. {reason}".strip()
            )
        return outputs


def open_listed(directory: Path, manifest: Mapping[str, Any], name: str, threads: int) -> SharedLibrary:
    """The library `name` of an artifact: the bytes that its manifest states. Raises ArtifactError."""
    content = listed_bytes(directory, manifest, name)
    return SharedLibrary(directory / name, manifest["inputs"], manifest["outputs"], threads, content=content)


def _pointer(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _aligned(array: NDArray[Any]) -> NDArray[Any]:
    """`array` itself when its memory is aligned, else a copy that is."""
    if array.ctypes.data % ALIGNMENT_BYTES == 0:
        return array
    copy = _empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    return raw[start : start + size].view(dtype).reshape(shape)

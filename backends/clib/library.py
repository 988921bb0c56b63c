"""A compiled C library under Python: ctypes over the functions that its `model.h` declares.

Weights stay in the library's own pages and are shared by all calls. Every running call has a context
(arena and threads) of its own, so the object may be used from several threads at once.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdcompiler.errors import ArtifactError, InternalError, TargetError
from mdcompiler.inputs import checked_inputs
from mdcompiler.manifest import TensorSpec

ALIGNMENT_BYTES = 64
"""Of every buffer handed to the library: what vector loads of its kernels may assume."""


class SharedLibrary:
    """One loaded `model.so`.

    inputs, outputs: name, shape and dtype of the tensors as the manifest states them, in the order of the C
    parameters. threads: of one call. Raises ArtifactError when the file is no such library.
    """

    def __init__(
        self,
        path: Path,
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]],
        threads: int = 1,
        prefix: str = "model_",
    ) -> None:
        self._functions = _Functions(path, prefix, len(inputs) + len(outputs))
        self._inputs = [TensorSpec.model_validate(item) for item in inputs]
        self._outputs = [TensorSpec.model_validate(item) for item in outputs]
        self._threads = threads
        self._lock = threading.Lock()
        self._idle: list[int] = []
        self._closed = False

    @property
    def arena_bytes(self) -> int:
        """Memory that one call works in, the weights left out."""
        return int(self._functions.arena_bytes())

    def kernel_names(self) -> list[str]:
        """The kernels in the order in which they run."""
        count = int(self._functions.kernel_count())
        return [self._functions.kernel_name(index).decode() for index in range(count)]

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises InputError when `inputs` do not fit."""
        return self._call(self._functions.run, inputs)

    def profile(self, inputs: Mapping[str, ArrayLike]) -> list[tuple[str, int]]:
        """One run with a clock read around every kernel: (kernel, nanoseconds) in order of execution."""
        names = self.kernel_names()
        spent = np.zeros(len(names), np.uint64)
        self._call(self._functions.profile, inputs, _pointer(spent))
        return list(zip(names, spent.tolist(), strict=True))

    def close(self) -> None:
        """Release the contexts; one that is running is released when its call ends."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for context in idle:
            self._functions.destroy(context)

    def _call(
        self, function: Callable[..., int], inputs: Mapping[str, ArrayLike], *extra: ctypes.c_void_p
    ) -> dict[str, NDArray[Any]]:
        arrays = [_aligned(array) for array in checked_inputs(self._inputs, inputs).values()]
        outputs = {item.name: _empty(item.shape, np.dtype(item.dtype)) for item in self._outputs}
        tensors = [_pointer(array) for array in (*arrays, *outputs.values())]
        with self._context() as context:
            status = function(context, *tensors, *extra)
        if status != 0:
            why = f"with status {status}; send the artifact. {self._functions.reason()}".strip()
            raise InternalError(f"the compiled library failed {why}")
        return outputs

    @contextmanager
    def _context(self) -> Iterator[int]:
        context = self._take()
        try:
            yield context
        finally:
            self._give_back(context)

    def _take(self) -> int:
        with self._lock:
            if self._closed:
                raise InternalError("the library was closed and is used again; open it anew.")
            if self._idle:
                return self._idle.pop()
        context: int | None = self._functions.create(self._threads)
        if not context:
            reason = self._functions.reason()
            if reason:
                raise TargetError(f"starting the compiled library: {reason}")
            raise MemoryError(f"no memory for an arena of {self.arena_bytes} bytes and {self._threads} threads")
        return context

    def _give_back(self, context: int) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(context)
                return
        self._functions.destroy(context)


class _Functions:
    """The library's functions with their C types."""

    def __init__(self, path: Path, prefix: str, tensors: int) -> None:
        pointer, number = ctypes.c_void_p, ctypes.c_int
        try:
            library = ctypes.CDLL(str(path.absolute()))
            self.arena_bytes = _typed(library, f"{prefix}arena_bytes", ctypes.c_size_t, [])
            self.create = _typed(library, f"{prefix}create", pointer, [number])
            self.run = _typed(library, f"{prefix}run", number, [pointer] * (1 + tensors))
            self.destroy = _typed(library, f"{prefix}destroy", None, [pointer])
            self.kernel_count = _typed(library, f"{prefix}kernel_count", number, [])
            self.kernel_name = _typed(library, f"{prefix}kernel_name", ctypes.c_char_p, [number])
            self.profile = _typed(library, f"{prefix}profile", number, [pointer] * (2 + tensors))
            has_error = hasattr(library, f"{prefix}error")
            self._error = _typed(library, f"{prefix}error", ctypes.c_char_p, []) if has_error else None
        except (OSError, AttributeError) as error:
            raise ArtifactError(f"opening {path}: {error}. Compile the network again for this machine.") from error

    def reason(self) -> str:
        """Why the last call in this thread failed, where the library says so; else ""."""
        return "" if self._error is None else str(self._error().decode(errors="replace"))


def _typed(library: ctypes.CDLL, name: str, result: Any, arguments: list[Any]) -> Callable[..., Any]:
    function: Any = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function  # type: ignore[no-any-return]


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

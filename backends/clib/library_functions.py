"""The functions of a compiled library with their C types, and its own word on the tensors that they take."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mdcompiler.backends.clib.c_tensors import type_text
from mdcompiler.backends.clib.load_library import LoadedLibrary, load_library
from mdcompiler.errors import ArtifactError
from mdcompiler.foreign import read_file, reason, shortened
from mdcompiler.manifest import MAX_FILE_BYTES, TensorSpec

_ADVICE = "Compile the network again for this machine."


class Functions:
    """Those of one library, which may be called until `close`."""

    def __init__(self, library: LoadedLibrary, prefix: str, tensors: int) -> None:
        """tensors: how many its functions take. Raises AttributeError for a function that it has not."""
        pointer, number = ctypes.c_void_p, ctypes.c_int
        self._library = library
        self._prefix = prefix
        self.arena_bytes = self._typed("arena_bytes", ctypes.c_size_t, [])
        self.create = self._typed("create", pointer, [number])
        self.run = self._typed("run", number, [pointer] * (1 + tensors))
        self.destroy = self._typed("destroy", None, [pointer])
        self.kernel_count = self._typed("kernel_count", number, [])
        self.kernel_name = self._typed("kernel_name", ctypes.c_char_p, [number])
        self.profile = self._typed("profile", number, [pointer] * (2 + tensors))
        place = ctypes.POINTER(ctypes.c_size_t)
        has_head = hasattr(library.functions, f"{prefix}head")
        self.head = self._typed("head", pointer, [pointer, number, place]) if has_head else None
        has_error = hasattr(library.functions, f"{prefix}error")
        self._error = self._typed("error", ctypes.c_char_p, []) if has_error else None

    @classmethod
    def open(
        cls,
        path: Path,
        prefix: str,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
        content: bytes | None = None,
    ) -> Functions:
        """Load the library at `path`, or `content` that was read from there, when it takes these tensors.

        Raises ArtifactError.
        """
        try:
            loaded = load_library(read_file(path, MAX_FILE_BYTES) if content is None else content, path.name)
        except (OSError, ValueError) as error:
            said = reason(error) if isinstance(error, ValueError) or error.strerror else shortened(str(error))
            raise ArtifactError(f"opening {path}: {said}. {_ADVICE}") from error
        try:
            functions = cls(loaded, prefix, len(inputs) + len(outputs))
            fault = functions.tensor_fault(inputs, outputs)
        except AttributeError as error:
            fault = shortened(str(error))
        if fault:
            loaded.close()
            raise ArtifactError(f"opening {path}: {fault}. {_ADVICE}")
        return functions

    def tensor_fault(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> str:
        """What the library says of its tensors beside what it should take; "" when they are the same."""
        name = self._typed("tensor_name", ctypes.c_char_p, [ctypes.c_int])
        type_of = self._typed("tensor_type", ctypes.c_char_p, [ctypes.c_int])
        size = self._typed("tensor_bytes", ctypes.c_size_t, [ctypes.c_int])
        counts = [int(self._typed(what, ctypes.c_int, [])()) for what in ("input_count", "tensor_count")]
        wanted = [(item.name, type_text(item.dtype, item.shape), item.bytes) for item in (*inputs, *outputs)]
        if counts != [len(inputs), len(wanted)]:
            stated = f"the manifest says {len(inputs)} and {len(outputs)}"
            return f"the library has {counts[0]} inputs and {counts[1] - counts[0]} outputs, {stated}"
        for index, row in enumerate(wanted):
            own = ((name(index) or b"").decode(), (type_of(index) or b"").decode(), int(size(index)))
            if own != row:
                shown = [shortened(f"{told[0]} {told[1]}, {told[2]} bytes", 120) for told in (own, row)]
                return f"tensor {index} of the library is {shown[0]}, the manifest says {shown[1]}"
        return ""

    def reason(self) -> str:
        """Why the last call in this thread failed, where the library says so; else ""."""
        return "" if self._error is None else str(self._error().decode(errors="replace"))

    def close(self) -> None:
        """Unload the library."""
        self._library.close()

    def _typed(self, name: str, result: Any, arguments: list[Any]) -> Callable[..., Any]:
        function: Any = getattr(self._library.functions, f"{self._prefix}{name}")
        function.restype, function.argtypes = result, arguments
        return function  # type: ignore[no-any-return]

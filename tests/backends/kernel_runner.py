"""Kernel functions under ctypes: compile sources to one library and call them on numpy arrays."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.clib.link import compiler_command
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.kernels.object_file import compile_object
from mdcompiler.target import Target

Array = NDArray[Any]


def aligned(values: Array, alignment_bytes: int = 64) -> Array:
    """A copy of `values` at an address that is a multiple of `alignment_bytes`."""
    values = np.ascontiguousarray(values)
    room = np.zeros(values.nbytes + alignment_bytes, np.uint8)
    start = -room.ctypes.data % alignment_bytes
    copy = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def block(values: Array, lanes: int) -> Array:
    """[C, H, W] -> aligned [C/v, H, W, v], zeros beyond C."""
    channels, height, width = values.shape
    padded = np.zeros((-(-channels // lanes) * lanes, height, width), values.dtype)
    padded[:channels] = values
    return aligned(padded.reshape(-1, lanes, height, width).transpose(0, 2, 3, 1))


def unblock(values: Array, channels: int) -> Array:
    """[C/v, H, W, v] -> [C, H, W]"""
    blocks, height, width, lanes = values.shape
    return values.transpose(0, 3, 1, 2).reshape(blocks * lanes, height, width)[:channels]


class Kernels:
    """A library of kernel functions."""

    def __init__(self, folder: Path, target: Target, sources: Sequence[FunctionSource]) -> None:
        code = compile_object({source.symbol: source.write() for source in sources}, target.llvm)
        (folder / "kernels.o").write_bytes(code)
        command = [*compiler_command(), "-shared", "-o", "kernels.so", "kernels.o", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
        self._library = ctypes.CDLL(str(folder / "kernels.so"))

    def run(self, source: FunctionSource, arrays: Sequence[Array], begin: int, end: int) -> None:
        """Call one function on `arrays` for the iterations [begin, end)."""
        function = self._library[source.symbol]
        pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
        assert function(*pointers, ctypes.c_int32(begin), ctypes.c_int32(end)) == 0

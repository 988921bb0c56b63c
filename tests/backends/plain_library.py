"""Runs legalised kernels as what they are meant to be: C functions in a shared library, called by ctypes."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.legalize import LegalKernel, TensorType
from tests.c_compiler import compilers

HOST = {"kind": "llvm", "mtriple": "x86_64-unknown-linux-gnu", "mcpu": "x86-64-v2"}
ALIGNMENT_BYTES = 64

Array = NDArray[Any]


def load_objects(objects: Sequence[bytes], folder: Path) -> ctypes.CDLL:
    """`objects` as a loaded shared library. The linker refuses every symbol that is not in libc or libm."""
    names = [f"{index}.o" for index in range(len(objects))]
    for name, code in zip(names, objects, strict=True):
        (folder / name).write_bytes(code)
    command = [*compilers()[0], "-shared", "-Wl,--no-undefined", "-o", "kernels.so", *names, "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "kernels.so"))


def buffer(shape: tuple[int, ...], dtype: str, misplaced_bytes: int = 0) -> Array:
    """An array full of 1 bits (NaN for floats), so that what nobody writes shows, at an aligned address."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    raw = np.full(size + 2 * ALIGNMENT_BYTES, 255, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES + misplaced_bytes
    return raw[start : start + size].view(kind).reshape(shape)


def filled(values: Array, misplaced_bytes: int = 0) -> Array:
    """A copy of `values` in a `buffer`."""
    result = buffer(values.shape, values.dtype.name, misplaced_bytes)
    result[...] = values
    return result


def run(
    library: ctypes.CDLL,
    kernel: LegalKernel,
    inputs: Mapping[str, Array],
    outputs: Mapping[str, TensorType],
    misplaced_bytes: int = 0,
) -> dict[str, Array]:
    """Outputs of `kernel` by name. misplaced_bytes: how far every buffer is from an aligned address."""
    places = {name: buffer(*kind, misplaced_bytes) for name, kind in {**kernel.temporaries, **outputs}.items()}
    places |= {name: filled(array, misplaced_bytes) for name, array in {**kernel.constants, **inputs}.items()}
    for call in kernel.calls:
        pointers = [ctypes.c_void_p(places[name].ctypes.data) for name in call.arguments]
        assert library[call.function](*pointers) == 0
    return {name: places[name] for name in outputs}

"""Runs legalised kernels as what they are meant to be: C functions in a shared library, called by ctypes."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.backends.legalize import LegalKernel, TensorType

HOST = {"kind": "llvm", "mtriple": "x86_64-unknown-linux-gnu", "mcpu": "x86-64-v2"}
ALIGNMENT_BYTES = 64


def link(objects: Sequence[bytes], folder: Path) -> ctypes.CDLL:
    """`objects` as a loaded shared library in which every symbol is resolved; skips where there is no linker."""
    for index, code in enumerate(objects):
        (folder / f"{index}.o").write_bytes(code)
    names = [f"{index}.o" for index in range(len(objects))]
    command = ["cc", "-shared", "-Wl,--no-undefined", "-o", "kernels.so", *names, "-lm"]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no system C compiler to link with")
    return ctypes.CDLL(str(folder / "kernels.so"))


def aligned(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    """An array of ones bits (a NaN for floats) at an aligned address: what is not written shows."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    raw = np.full(size + ALIGNMENT_BYTES, 255, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT_BYTES
    return raw[start : start + size].view(kind).reshape(shape)


def run(
    library: ctypes.CDLL,
    kernel: LegalKernel,
    inputs: Mapping[str, NDArray[Any]],
    outputs: Mapping[str, TensorType],
) -> dict[str, NDArray[Any]]:
    """Outputs of `kernel` by name."""
    buffers = {name: aligned(*kind) for name, kind in {**kernel.temporaries, **outputs}.items()}
    for name, array in {**kernel.constants, **inputs}.items():
        buffers[name] = aligned(array.shape, array.dtype.name)
        buffers[name][...] = array
    for call in kernel.calls:
        pointers = [ctypes.c_void_p(buffers[name].ctypes.data) for name in call.arguments]
        assert library[call.function](*pointers) == 0
    return {name: buffers[name] for name in outputs}

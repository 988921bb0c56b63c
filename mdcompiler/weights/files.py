"""Weights files by suffix: `.safetensors`, `.npz`, and `.pth` to read; our names as keys, float32 or float16 inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import OutputError, WeightsError
from mdcompiler.weights.npz_file import read_npz, write_npz
from mdcompiler.weights.pth_file import read_pth
from mdcompiler.weights.safetensors_file import read_safetensors, write_safetensors
from mdcompiler.weights.seeded import Weights

_READERS: dict[str, Callable[[Path], dict[str, NDArray[Any]]]] = {
    ".safetensors": read_safetensors,
    ".npz": read_npz,
    ".pth": read_pth,
    ".pt": read_pth,
}
_WRITERS: dict[str, Callable[[Path, dict[str, NDArray[Any]]], None]] = {
    ".safetensors": write_safetensors,
    ".npz": write_npz,
}
SUFFIXES = tuple(_READERS)


def load_weights(path: str | Path) -> Weights:
    """float32 tensors by name from a `.safetensors`, `.npz` or `.pth` file of float32 or float16.

    Raises WeightsError for another suffix, a broken file or another element type. Whether the tensors fit a
    network is `check_weights`' question.
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"reading weights: {path} ends in {path.suffix!r}; {_allowed(_READERS)} can be read.")
    return as_float32(reader(path), str(path))


def save_weights(path: str | Path, weights: Mapping[str, NDArray[Any]]) -> None:
    """Write float `weights` by name to a `.safetensors` or `.npz` file; equal weights give equal bytes.

    Raises OutputError for another suffix or a place that cannot be written; then no file is left behind.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise OutputError(f"writing weights: {path} ends in {path.suffix!r}; {_allowed(_WRITERS)} can be written.")
    writer(path, {name: np.ascontiguousarray(array) for name, array in weights.items()})


def as_float32(tensors: Mapping[str, NDArray[Any]], source: str) -> Weights:
    """`tensors` as float32 in row-major order. Raises WeightsError listing those that are no float32 or float16."""
    odd = [
        f"{name} ({array.dtype})"
        for name, array in sorted(tensors.items())
        if array.dtype.name not in ("float32", "float16")
    ]
    if odd:
        shown = ", ".join(odd[:20]) + (f" and {len(odd) - 20} more" if len(odd) > 20 else "")
        raise WeightsError(f"reading weights: {source} holds {shown}; float32 or float16 is allowed.")
    return {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in tensors.items()}


def _allowed(suffixes: Iterable[str]) -> str:
    *most, last = suffixes
    return f"{', '.join(most)} or {last}"

"""Arrays in and out of `.npy` and `.npz` files; a file may not claim more than the network takes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import InputError, OutputError
from mdcompiler.foreign import open_file, refusing
from mdcompiler.manifest import TensorSpec
from mdcompiler.npy import read_npy
from mdcompiler.npz import limit_of, open_npz
from mdcompiler.write_aside import write_file

Arrays = dict[str, NDArray[Any]]


def read_arrays(path: Path, expected: Sequence[TensorSpec]) -> Arrays:
    """The inputs of a network by name: a `.npy` file is its only input, a `.npz` file has one member each.

    Raises InputError when the file is missing, damaged or larger than the inputs are.
    """
    with refusing(f"reading {path}", InputError, f"Give {_wanted(expected)} as numpy saves them."):
        if path.suffix == ".npz":
            return _read_npz(path, expected)
        if path.suffix == ".npy" and len(expected) == 1:
            with open_file(path) as file:
                return {expected[0].name: read_npy(file, _bytes(expected[0]))}
    names = ", ".join(item.name for item in expected)
    raise InputError(f"reading {path}: .npz can be read, and .npy for a network with one input; here: {names}.")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], made_from: Iterable[Path] = ()) -> None:
    """Write `arrays` by name to a `.npz` file. Raises OutputError for another suffix or an unwritable place.

    made_from: files that are never replaced.
    """
    if path.suffix != ".npz":
        raise OutputError(f"writing {path}: outputs are written as .npz. Give a path that ends so.")
    data = io.BytesIO()
    np.savez(data, **dict(arrays))  # type: ignore[arg-type]
    write_file(path, data.getvalue(), made_from)


def _read_npz(path: Path, expected: Sequence[TensorSpec]) -> Arrays:
    limit = limit_of(sum(map(_bytes, expected)), len(expected))
    with open_npz(path) as archive:
        if archive.unpacked_bytes > limit:
            raise ValueError(f"it unpacks to {archive.unpacked_bytes} bytes; the network's inputs have at most {limit}")
        return {name: archive.array(name) for name in archive.members}


def _wanted(expected: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{item.name} {item.dtype}{list(item.shape)}" for item in expected)


def _bytes(item: TensorSpec) -> int:
    return int(np.prod(item.shape, dtype=np.int64)) * np.dtype(item.dtype).itemsize

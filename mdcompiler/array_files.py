"""Arrays in and out of `.npy` and `.npz` files; a file may not claim more than the network takes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import InputError, OutputError
from mdcompiler.manifest import TensorSpec
from mdcompiler.write_aside import write_file

_HEADER_BYTES = 4096
Arrays = dict[str, NDArray[Any]]


def read_arrays(path: Path, expected: Sequence[TensorSpec]) -> Arrays:
    """The inputs of a network by name: a `.npy` file is its only input, a `.npz` file has one member each.

    Raises InputError when the file is missing, damaged or larger than the inputs are.
    """
    limit = sum(_bytes(item) + _HEADER_BYTES for item in expected)
    try:
        if path.suffix == ".npz":
            return _read_npz(path, limit)
        if path.suffix == ".npy" and len(expected) == 1:
            return {expected[0].name: _read_npy(path.read_bytes() if path.stat().st_size <= limit else b"", path)}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"reading {path}: {reason}. Give arrays that numpy saved.") from error
    names = ", ".join(item.name for item in expected)
    raise InputError(f"reading {path}: .npz can be read, and .npy for a network with one input; here: {names}.")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `arrays` by name to a `.npz` file. Raises OutputError for another suffix or an unwritable place."""
    if path.suffix != ".npz":
        raise OutputError(f"writing {path}: outputs are written as .npz. Give a path that ends so.")
    data = io.BytesIO()
    np.savez(data, **dict(arrays))  # type: ignore[arg-type]
    write_file(path, data.getvalue())


def _read_npz(path: Path, limit: int) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > limit:
            raise ValueError(f"more than the {limit} bytes of the network's inputs")
        return {member.filename.removesuffix(".npy"): _read_npy(archive.read(member), path) for member in members}


def _read_npy(data: bytes, path: Path) -> NDArray[Any]:
    if not data:
        raise ValueError(f"{path.name} is empty or larger than the network's inputs")
    array = np.load(io.BytesIO(data), allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("not one array")
    return array


def _bytes(item: TensorSpec) -> int:
    return int(np.prod(item.shape, dtype=np.int64)) * np.dtype(item.dtype).itemsize

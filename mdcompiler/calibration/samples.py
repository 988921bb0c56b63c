"""Calibration data: a folder of pictures or an `.npz` file, read one sample at a time.

However many samples there are, one is in memory: a picture is decoded when its turn comes, and an array
[N, ...] in an `.npz` file is read row by row from the compressed stream.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mdcompiler.backend import input_specs
from mdcompiler.errors import InputError
from mdcompiler.images import read_picture, to_input
from mdcompiler.manifest import Picture, TensorSpec
from mdcompiler.module import Module
from mdcompiler.read_network import picture_of

Arrays = dict[str, NDArray[Any]]
DEFAULT_LIMIT = 128
"""How many samples are taken when there are more; more change the ranges of a detector hardly."""

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm"})


class Samples(Protocol):
    """Inputs of a network, one dictionary name -> array for each sample; may be iterated many times."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Arrays]: ...


@dataclass(frozen=True)
class PictureFiles:
    """Pictures in files, brought to the size of the network."""

    files: tuple[Path, ...]
    picture: Picture

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Arrays]:
        for file in self.files:
            yield {self.picture.input: to_input(read_picture(file), self.picture.height, self.picture.width)}


@dataclass(frozen=True)
class ArrayRows:
    """The rows of an `.npz` file: each input is a member [N, ...] whose rows are samples without batch."""

    path: Path
    inputs: tuple[TensorSpec, ...]
    rows: int

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[Arrays]:
        with ExitStack() as stack:
            archive = stack.enter_context(zipfile.ZipFile(self.path))
            streams = {item.name: stack.enter_context(archive.open(f"{item.name}.npy")) for item in self.inputs}
            for stream in streams.values():
                _header(stream)
            for _ in range(self.rows):
                yield {item.name: _row(streams[item.name], item, self.path) for item in self.inputs}


@dataclass(frozen=True)
class ListedSamples:
    """Samples that are in memory already."""

    arrays: Sequence[Mapping[str, NDArray[Any]]]

    def __len__(self) -> int:
        return len(self.arrays)

    def __iter__(self) -> Iterator[Arrays]:
        return (dict(item) for item in self.arrays)


def open_samples(path: str | Path, module: Module, limit: int = DEFAULT_LIMIT) -> Samples:
    """The calibration data at `path` for the network `module`, at most `limit` samples.

    A folder gives its pictures in the order of their names, evenly spread when there are more than `limit`.
    Raises InputError when there is nothing usable.
    """
    path = Path(path)
    if path.is_dir():
        return _pictures(path, module, limit)
    if path.suffix == ".npz":
        return _rows(path, tuple(TensorSpec.model_validate(row) for row in input_specs(module)), limit)
    raise InputError(f"reading calibration data from {path}: it is neither a folder nor an .npz file. Give one.")


def first_samples(samples: Samples, count: int) -> ListedSamples:
    """The first `count` samples, kept in memory."""
    return ListedSamples([sample for _, sample in zip(range(min(count, len(samples))), samples, strict=False)])


def spread(items: Sequence[Any], limit: int) -> tuple[Any, ...]:
    """`limit` of `items`, evenly spread over their order; all when they are fewer."""
    if len(items) <= limit:
        return tuple(items)
    return tuple(items[index * len(items) // limit] for index in range(limit))


def _pictures(folder: Path, module: Module, limit: int) -> PictureFiles:
    picture = picture_of(module)
    if picture is None:
        raise InputError(
            f"calibrating with the folder {folder}: the network takes no single picture uint8 [1, height, width, 3]. "
            "Give an .npz file with one member for every input."
        )
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise InputError(
            f"calibrating with the folder {folder}: it holds no picture ({', '.join(sorted(SUFFIXES))}). "
            "Give the folder that holds the pictures themselves."
        )
    return PictureFiles(spread(files, limit), picture)


def _rows(path: Path, inputs: tuple[TensorSpec, ...], limit: int) -> ArrayRows:
    try:
        with zipfile.ZipFile(path) as archive:
            counts = [_count(archive, item) for item in inputs]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip("'\"")
        wanted = ", ".join(f"{item.name} {item.dtype}[N, {', '.join(map(str, item.shape[1:]))}]" for item in inputs)
        raise InputError(f"reading calibration data from {path}: {reason}. It must hold {wanted}.") from error
    if len(set(counts)) != 1 or not counts[0]:
        raise InputError(f"reading calibration data from {path}: {counts} samples; every input needs as many, and one.")
    return ArrayRows(path, inputs, min(counts[0], limit))


def _count(archive: zipfile.ZipFile, item: TensorSpec) -> int:
    with archive.open(f"{item.name}.npy") as stream:
        shape, dtype = _header(stream)
    if tuple(shape[1:]) != tuple(item.shape[1:]) or dtype != np.dtype(item.dtype):
        raise ValueError(f"{item.name} is {dtype}{list(shape)}")
    return shape[0]


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of the array that follows in `stream`, row-major."""
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if fortran or not shape:
        raise ValueError("an array is column-major or has no rows")
    return tuple(shape), dtype


def _row(stream: IO[bytes], item: TensorSpec, path: Path) -> NDArray[Any]:
    dtype = np.dtype(item.dtype)
    count = int(np.prod(item.shape[1:], dtype=np.int64))
    data = stream.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise InputError(f"reading calibration data from {path}: {item.name} ends early. Give an undamaged file.")
    return np.frombuffer(data, dtype).reshape(1, *item.shape[1:])

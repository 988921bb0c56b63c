"""Calibration data: a folder of pictures or an `.npz` file, read one sample at a time.

However many samples there are, one is in memory: a picture is decoded when its turn comes, and an array
[N, ...] in an `.npz` file is read row by row from the compressed stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backend import input_specs
from mdcompiler.errors import InputError
from mdcompiler.foreign import is_folder, refusing
from mdcompiler.images import read_picture, to_input
from mdcompiler.manifest import Picture, TensorSpec
from mdcompiler.module import Module
from mdcompiler.npy import Header, read_values
from mdcompiler.npz import Npz, open_npz
from mdcompiler.read_network import picture_of

Arrays = dict[str, NDArray[Any]]
DEFAULT_LIMIT = 128
"""How many samples are taken when there are more; more change the ranges of a detector hardly."""

_MOST_CHECKED_BYTES = 1 << 30
"""Of an array whose checksum is compared before the first sample is used; that of a larger one takes too long."""
_CHUNK_BYTES = 1 << 20

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
            with _refusing(self.path):
                archive = stack.enter_context(open_npz(self.path))
                streams = {item.name: stack.enter_context(archive.open(item.name)) for item in self.inputs}
                rows = {name: _row_of(archive.header(stream, name)) for name, stream in streams.items()}
            for _ in range(self.rows):
                with _refusing(self.path):
                    sample = {name: read_values(streams[name], row) for name, row in rows.items()}
                yield sample


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
    if is_folder(path):
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
    with refusing(f"calibrating with the folder {folder}", InputError, "Give a folder that can be read."):
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    if not files:
        raise InputError(
            f"calibrating with the folder {folder}: it holds no picture ({', '.join(sorted(SUFFIXES))}). "
            "Give the folder that holds the pictures themselves."
        )
    return PictureFiles(spread(files, limit), picture)


def _rows(path: Path, inputs: tuple[TensorSpec, ...], limit: int) -> ArrayRows:
    with _refusing(path), open_npz(path) as archive:
        counts = [_count(archive, item) for item in inputs]
        if len(set(counts)) != 1 or not counts[0]:
            raise ValueError(f"{counts} samples; every input needs as many, and one")
    return ArrayRows(path, inputs, min(counts[0], limit))


def _count(archive: Npz, item: TensorSpec) -> int:
    """How many samples of an input there are, whose bytes have the checksum that the archive states."""
    if item.name not in archive.members:
        raise ValueError(f"it has no member {item.name}, which must be {_wanted(item)}")
    with archive.open(item.name) as stream:
        header = archive.header(stream, item.name)
        same = header.shape[1:] == tuple(item.shape[1:]) and header.dtype.newbyteorder("=") == np.dtype(item.dtype)
        if not header.shape or not same:
            raise ValueError(f"{item.name} is {header}, and must be {_wanted(item)}")
        if header.column_major and len(header.shape) > 1:
            raise ValueError(f"{item.name} is column-major (numpy.ascontiguousarray before it is saved mends that)")
        if header.array_bytes <= _MOST_CHECKED_BYTES:
            while stream.read(_CHUNK_BYTES):
                pass  # the last byte compares the checksum
    return header.shape[0]


def _wanted(item: TensorSpec) -> str:
    return f"{item.dtype}[N, {', '.join(map(str, item.shape[1:]))}]"


def _row_of(header: Header) -> Header:
    """One sample of an array of them, batch 1."""
    return header._replace(shape=(1, *header.shape[1:]), column_major=False)


def _refusing(path: Path) -> AbstractContextManager[None]:
    return refusing(
        f"reading calibration data from {path}", InputError, "Give an undamaged file that numpy.savez wrote."
    )

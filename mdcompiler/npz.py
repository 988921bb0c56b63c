"""A `.npz` archive, opened so that nothing it declares is believed before it is checked.

What numpy writes is read: a zip archive of `.npy` members, stored or deflated. The directory is judged before it is
read, every member's header before its values, and a member's checksum when its last byte is read.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO

from numpy.typing import NDArray

from mdcompiler.foreign import open_file, shortened
from mdcompiler.npy import MOST_HEADER_BYTES, Header, read_header, read_values

MOST_MEMBERS = 1 << 16
_MOST_DIRECTORY_BYTES = MOST_MEMBERS * 256
_END, _END_BYTES, _MOST_COMMENT_BYTES = b"PK\x05\x06", 22, 1 << 16
_WIDE_END, _WIDE_PLACE, _WIDE_PLACE_BYTES, _WIDE_END_BYTES = b"PK\x06\x06", b"PK\x06\x07", 20, 56
_ENCRYPTED = 1


class Npz:
    """The members of an open archive by name, without `.npy`. Any exception may leave it: see `mdcompiler.foreign`."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.members: dict[str, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            name = _checked_name(info)
            if name in self.members:
                raise ValueError(f"it holds two arrays called {shortened(name, 80)}")
            self.members[name] = info

    @property
    def unpacked_bytes(self) -> int:
        """Of all members together, as the directory states; none can be read further."""
        return sum(info.file_size for info in self.members.values())

    def open(self, name: str) -> IO[bytes]:
        """The bytes of a member. Raises KeyError when there is none called so."""
        return self._archive.open(self.members[name])

    def header(self, stream: IO[bytes], name: str) -> Header:
        """What the member says of itself, and the directory confirms. stream: at its start; then at its values."""
        header, held = read_header(stream), self.members[name].file_size
        if header.header_bytes + header.array_bytes != held:
            raise ValueError(
                f"{shortened(name, 80)} claims shape {list(header.shape)[:8]} of {header.dtype} in "
                f"{held - header.header_bytes} bytes"
            )
        return header

    def array(self, name: str) -> NDArray[Any]:
        """A whole member. Its size is to be judged by `unpacked_bytes` first."""
        with self.open(name) as stream:
            array = read_values(stream, self.header(stream, name))
            stream.read(1)  # past the end stands the checksum
            return array


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """The archive at `path`. Any exception may leave it: see `mdcompiler.foreign`."""
    with open_file(path) as file:
        _check_directory(file)
        with zipfile.ZipFile(file) as archive:
            yield Npz(archive)


def limit_of(array_bytes: int, members: int) -> int:
    """The most that an archive of so many arrays may unpack to."""
    return array_bytes + members * MOST_HEADER_BYTES


def _checked_name(info: zipfile.ZipInfo) -> str:
    shown = shortened(info.filename, 80)
    if not info.filename.endswith(".npy"):
        raise ValueError(f"it holds {shown!r}; only .npy members are read")
    if info.flag_bits & _ENCRYPTED:
        raise ValueError(f"{shown} is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{shown} is packed by method {info.compress_type}; stored (0) or deflated (8) is read")
    return info.filename.removesuffix(".npy")


def _check_directory(file: BinaryIO) -> None:
    """Judge the size of the directory, which zipfile reads as a whole into objects ten times as large."""
    size = file.seek(0, 2)
    tail_start = max(0, size - _END_BYTES - _MOST_COMMENT_BYTES)
    file.seek(tail_start)
    tail = file.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise ValueError("it is no zip archive, or was cut short")
    claimed = struct.unpack_from("<L", tail, place + 12)[0]
    wide = _wide_directory_bytes(file, tail_start + place)
    if max(claimed if claimed != 0xFFFFFFFF else 0, wide) > _MOST_DIRECTORY_BYTES:
        raise ValueError(f"its directory claims {max(claimed, wide)} bytes; at most {_MOST_DIRECTORY_BYTES} are read")
    file.seek(0)


def _wide_directory_bytes(file: BinaryIO, end: int) -> int:
    """Size of the directory as the zip64 records before the end record state it; 0 where there are none."""
    if end < _WIDE_PLACE_BYTES + _WIDE_END_BYTES:
        return 0
    file.seek(end - _WIDE_PLACE_BYTES - _WIDE_END_BYTES)
    records = file.read(_WIDE_PLACE_BYTES + _WIDE_END_BYTES)
    if records[_WIDE_END_BYTES:][:4] != _WIDE_PLACE or records[:4] != _WIDE_END:
        return 0
    return int(struct.unpack_from("<Q", records, 40)[0])

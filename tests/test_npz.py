"""Arrays from outside: every size is judged before it is allocated, every kind that numpy writes comes back equal."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.array_files import read_arrays
from mdcompiler.errors import InputError, WeightsError
from mdcompiler.manifest import TensorSpec
from mdcompiler.weights import load_weights

WANTED = (TensorSpec(name="x", shape=(2, 3), dtype="float32"),)
VALUES = np.arange(6, dtype=np.float32).reshape(2, 3)


def npy(array: NDArray[Any]) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=True)
    return data.getvalue()


def headed(header: bytes, values: bytes = b"", version: int = 1) -> bytes:
    """An array with a header as it may be made by hand."""
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes((version, 0)) + size + header + values


def npz(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


@pytest.mark.parametrize(
    "array",
    [VALUES, np.asfortranarray(VALUES), VALUES.astype(">f4"), np.asfortranarray(VALUES.astype(">f4")), VALUES[::-1]],
    ids=["plain", "column-major", "big-endian", "both", "view"],
)
def test_arrays_come_back(tmp_path: Path, array: NDArray[Any]) -> None:
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", x=array)
    np.savez_compressed(tmp_path / "b.npz", x=array)
    for name in ("a.npy", "a.npz", "b.npz"):
        got = read_arrays(tmp_path / name, WANTED)["x"]
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, array)
    np.testing.assert_array_equal(load_weights(tmp_path / "b.npz")["x"], array)


def test_a_scalar_stays_one(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.float32(2.5))
    assert read_arrays(tmp_path / "a.npy", (TensorSpec(name="x", shape=(), dtype="float32"),))["x"].shape == ()


BAD_ARRAYS: dict[str, tuple[bytes, str]] = {
    "long header": (headed(b"{" + b" " * 5000, version=2), "claims 5001 bytes; at most 4096|at most 4120"),
    "endless header": (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "claims 4294967295 bytes"),
    "cut header": (b"\x93NUMPY\x01\x00\xff\x00{'descr'", "EOF"),
    "tokens": (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (((((((((2L,"), "damaged|Cannot parse"),
    "nested": (headed(b"(" * 4000), "damaged|nested|memory|Cannot parse"),
    "negations": (headed(b"-" * 4000 + b"1"), "nested|memory|damaged|Cannot parse"),
    "negative": (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }"), "claims shape"),
    "huge": (headed(b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999, 3), }"), "bytes"),
    "objects": (npy(np.array([{"a": 1}], dtype=object)), "holds object"),
    "words": (npy(np.array(["a", "b"])), "holds <U1"),
    "fields": (npy(np.zeros(2, dtype=[("a", "<f4")])), "holds"),
    "version": (b"\x93NUMPY\x09\x00" + npy(VALUES)[8:], "version 9.0"),
    "short": (npy(VALUES)[:-1], "bytes"),
    "empty": (b"", "EOF"),
    "no array": (b"PK and so on", "magic"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(tmp_path: Path, name: str) -> None:
    data, why = BAD_ARRAYS[name]
    (tmp_path / "a.npy").write_bytes(data)
    for path in (tmp_path / "a.npy", npz(tmp_path / "a.npz", x=data)):
        with pytest.raises(InputError, match=why) as told:
            read_arrays(path, WANTED)
        assert str(told.value).endswith("Give x float32[2, 3] as numpy saves them.")
    with pytest.raises(WeightsError):
        load_weights(tmp_path / "a.npz")


def _damaged(path: Path) -> Path:
    np.savez(path, x=VALUES)
    data = bytearray(path.read_bytes())
    data[data.index(VALUES.tobytes()) + 2] ^= 8
    path.write_bytes(data)
    return path


def _deflate_damaged(path: Path) -> Path:
    npz(path, x=npy(VALUES) + b"")
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(range(20))
    path.write_bytes(data)
    return path


def _large_directory(path: Path) -> Path:
    np.savez(path, x=VALUES)
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = struct.pack("<L", 1 << 30)
    path.write_bytes(data)
    return path


def _twins(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x.npy", "y.npy"):
            archive.writestr(name, npy(VALUES))
    path.write_bytes(path.read_bytes().replace(b"y.npy", b"x.npy"))
    return path


def _bytes(data: bytes) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        path.write_bytes(data)
        return path

    return make


def _encrypted(path: Path) -> Path:
    np.savez(path, x=VALUES)
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


BAD_ARCHIVES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "checksum": (_damaged, "CRC"),
    "deflate": (_deflate_damaged, "damaged|CRC"),
    "lzma": (lambda path: npz(path, zipfile.ZIP_LZMA, x=npy(VALUES)), "method 14; stored"),
    "bzip2": (lambda path: npz(path, zipfile.ZIP_BZIP2, x=npy(VALUES)), "method 12; stored"),
    "bomb": (lambda path: npz(path, x=npy(np.zeros((1000, 1000), np.float32))), "unpacks to 4000128 bytes"),
    "directory": (_large_directory, "directory claims 1073741824 bytes"),
    "twins": (_twins, "two arrays called x"),
    "encrypted": (_encrypted, "x.npy is encrypted"),
    "no zip": (_bytes(b"x" * 100), "no zip archive"),
    "empty": (_bytes(b""), "no zip archive"),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_bad_archives(tmp_path: Path, name: str) -> None:
    make, why = BAD_ARCHIVES[name]
    path = make(tmp_path / "a.npz")
    with pytest.raises(InputError, match=why):
        read_arrays(path, WANTED)
    if name != "bomb":
        with pytest.raises(WeightsError):
            load_weights(path)


def test_a_member_that_is_no_array(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("README", "hello")
    with pytest.raises(InputError, match=r"holds 'README'; only \.npy"):
        read_arrays(tmp_path / "a.npz", WANTED)


def test_a_pipe_holds_nothing_up(tmp_path: Path) -> None:
    for name in ("a.npy", "a.npz"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match="it is a pipe"):
            read_arrays(tmp_path / name, WANTED)
    for name in ("b.npy", "b.npz"):
        (tmp_path / name).symlink_to("/dev/zero")
        with pytest.raises(InputError, match="it is a device"):
            read_arrays(tmp_path / name, WANTED)

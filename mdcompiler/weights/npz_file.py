"""NumPy `.npz` weights, read member by member so that no declared size is believed before it is checked.

`numpy.load` would allocate whatever an array's header claims; here the header must agree with the
member's size, and the members' sizes together stay under a limit. Pickled (object) arrays are refused.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from mdcompiler.errors import WeightsError
from mdcompiler.weights.bounded import MAX_FILE_BYTES, MAX_TENSORS, element_count, read_bounded
from mdcompiler.write_aside import write_file

_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    SyntaxError,
)


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors of `path` by name, as stored. Raises WeightsError for a broken, pickled or oversized archive."""
    data = read_bounded(path)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _check_members(path, members)
            return {_tensor_name(path, info): _read_member(path, archive, info) for info in members}
    except _BROKEN as error:
        raise WeightsError(f"reading weights: {path} is no sound .npz archive ({error}). Save it again.") from None


def write_npz(path: Path, weights: dict[str, NDArray[Any]]) -> None:
    """Write `weights` to `path`, uncompressed; equal weights give equal bytes."""

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(weights):
            # a ZipInfo made by name alone carries the constant date of 1980
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, weights[name], allow_pickle=False)
    write_file(path, file.getvalue())


def _check_members(path: Path, members: list[zipfile.ZipInfo]) -> None:
    total = sum(info.file_size for info in members)
    if len(members) > MAX_TENSORS or total > MAX_FILE_BYTES:
        raise WeightsError(
            f"reading weights: {path} declares {len(members)} tensors of {total} bytes unpacked; allowed are "
            f"{MAX_TENSORS} tensors and {MAX_FILE_BYTES} bytes. Is it a weights file?"
        )
    names = [info.filename for info in members]
    if len(set(names)) != len(names):
        raise WeightsError(f"reading weights: {path} holds two tensors of one name. Save it again.")


def _tensor_name(path: Path, info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not name.endswith(".npy"):
        raise WeightsError(f"reading weights: {path} holds {name!r}; only .npy members are weights.")
    return name.removesuffix(".npy")


def _read_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(info) as member:
        data = member.read(info.file_size)
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"{info.filename} has format version {version}")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    if dtype.kind not in "fiu":
        raise WeightsError(f"reading weights: {path}: {info.filename} holds {dtype}; float32 or float16 is read.")
    count = element_count(shape)
    if count is None or count * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"{info.filename} claims shape {list(shape)[:8]} of {dtype} in {len(data)} bytes")
    flat = np.frombuffer(data, dtype, count, file.tell())
    return flat.reshape(shape, order="F" if fortran_order else "C")

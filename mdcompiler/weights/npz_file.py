"""NumPy `.npz` weights, whose members' sizes together stay under a limit that is judged before they are read."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from numpy.lib import format as npy
from numpy.typing import NDArray

from mdcompiler.errors import WeightsError
from mdcompiler.foreign import refusing
from mdcompiler.npz import open_npz
from mdcompiler.weights.bounded import MAX_FILE_BYTES, check_file
from mdcompiler.write_aside import write_file


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors of `path` by name, as stored. Raises WeightsError for a broken, pickled or oversized archive."""
    check_file(path, MAX_FILE_BYTES)
    where = f"reading weights: {path} is no sound .npz archive"
    with refusing(where, WeightsError, "Save it again with numpy.savez."), open_npz(path) as archive:
        if archive.unpacked_bytes > MAX_FILE_BYTES:
            raise ValueError(f"{archive.unpacked_bytes} bytes unpacked; allowed are {MAX_FILE_BYTES}")
        return {name: archive.array(name) for name in archive.members}


def write_npz(path: Path, weights: dict[str, NDArray[Any]]) -> None:
    """Write `weights` to `path`, uncompressed; equal weights give equal bytes."""

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(weights):
            # a ZipInfo made by name alone carries the constant date of 1980
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                npy.write_array(member, weights[name], allow_pickle=False)
    write_file(path, file.getvalue())

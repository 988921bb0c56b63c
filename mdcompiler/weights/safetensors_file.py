"""`.safetensors` weights, by the safetensors package: no code in the file, every offset checked by its reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from mdcompiler.errors import WeightsError
from mdcompiler.foreign import refusing
from mdcompiler.weights.bounded import read_bounded
from mdcompiler.write_aside import write_file

_MOST_HEADER_BYTES = 16 << 20
"""Of the table of tensors, which its reader turns into objects ten times as large."""


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors of `path` by name, as stored. Raises WeightsError when the file is no sound safetensors file."""
    data = read_bounded(path)
    where = f"reading weights: {path} is no sound .safetensors file of float32 or float16"
    with refusing(where, WeightsError, "Save it again."):
        size = int.from_bytes(data[:8], "little")
        if size > _MOST_HEADER_BYTES:
            raise ValueError(f"its header claims {size} bytes; at most {_MOST_HEADER_BYTES} are read")
        return dict(safetensors.numpy.load(data))


def write_safetensors(path: Path, weights: dict[str, NDArray[Any]]) -> None:
    """Write `weights` to `path`; equal weights give equal bytes."""
    data = safetensors.numpy.save({name: np.ascontiguousarray(weights[name]) for name in sorted(weights)})
    write_file(path, data)

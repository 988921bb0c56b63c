"""`.safetensors` weights, by the safetensors package: no code in the file, every offset checked by its reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from mdcompiler.errors import WeightsError
from mdcompiler.weights.bounded import read_bounded
from mdcompiler.write_aside import write_file

_BROKEN = (safetensors.SafetensorError, ValueError, KeyError, TypeError, AttributeError)
# KeyError, TypeError, AttributeError: its NumPy side meets element types that NumPy lacks (bfloat16, float8)


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Tensors of `path` by name, as stored. Raises WeightsError when the file is no sound safetensors file."""
    data = read_bounded(path)
    try:
        return dict(safetensors.numpy.load(data))
    except _BROKEN as error:
        raise WeightsError(
            f"reading weights: {path} is no sound .safetensors file of float32 or float16 ({error}). Save it again."
        ) from None


def write_safetensors(path: Path, weights: dict[str, NDArray[Any]]) -> None:
    """Write `weights` to `path`; equal weights give equal bytes."""
    data = safetensors.numpy.save({name: np.ascontiguousarray(weights[name]) for name in sorted(weights)})
    write_file(path, data)

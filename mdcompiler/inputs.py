"""The arrays a user hands to a network, compared with what it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdcompiler.errors import InputError
from mdcompiler.foreign import refusing
from mdcompiler.manifest import TensorSpec


def checked_inputs(expected: Sequence[TensorSpec], given: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
    """`given` as row-major arrays in the order of `expected`; nothing is converted but the memory layout.

    Raises InputError that lists every missing or unknown name and every wrong shape or dtype.
    """
    names = [item.name for item in expected]
    with refusing("running the network", InputError, "Give arrays, or lists of lists of numbers, by name."):
        arrays = {name: np.asarray(array) for name, array in given.items()}
    faults = [f"{name!r} is missing" for name in names if name not in arrays]
    faults += [f"{name!r} is no input" for name in arrays if name not in names]
    faults += [fault for item in expected if item.name in arrays and (fault := _fault(item, arrays[item.name]))]
    if faults:
        wanted = ", ".join(f"{item.name} {item.dtype}{list(item.shape)}" for item in expected)
        raise InputError(f"running the network: {'; '.join(faults)}. It takes {wanted}.")
    return {name: np.asarray(arrays[name], order="C") for name in names}


def _fault(item: TensorSpec, array: NDArray[Any]) -> str | None:
    if tuple(array.shape) == tuple(item.shape) and array.dtype == np.dtype(item.dtype):
        return None
    return f"{item.name!r} is {array.dtype}{list(array.shape)}"

"""Whether weights fit a network: one error that names every tensor at fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import WeightsError

_MOST_LINES = 20


def check_weights(
    shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, NDArray[Any]], source: str = "the weights"
) -> None:
    """Raise one WeightsError listing missing, extra, misshapen and non-finite tensors; `source` names the file.

    shapes: what the network needs, name -> shape. weights: float tensors by the same names.
    """
    faults = list(_faults(shapes, weights))
    if not faults:
        return
    shown = [f"  {fault}" for fault in faults[:_MOST_LINES]]
    if len(faults) > _MOST_LINES:
        shown.append(f"  and {len(faults) - _MOST_LINES} more")
    raise WeightsError(
        f"{source} does not fit the network, {len(faults)} tensor(s) at fault:\n"
        + "\n".join(shown)
        + "\nGive weights made for this spec, or the spec these weights were made for."
    )


def _faults(shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, NDArray[Any]]) -> Iterator[str]:
    for name, shape in shapes.items():
        expected = list(shape)
        if name not in weights:
            yield f"{name}: missing; expected shape {expected}"
        elif weights[name].shape != tuple(shape):
            yield f"{name}: shape {list(weights[name].shape)}; expected {expected}"
        elif not np.isfinite(weights[name]).all():
            count = int(np.count_nonzero(~np.isfinite(weights[name])))
            yield f"{name}: {count} of {weights[name].size} values are not finite; expected finite numbers"
    for name in weights:
        if name not in shapes:
            yield f"{name}: extra, shape {list(weights[name].shape)}; the network has no such tensor"

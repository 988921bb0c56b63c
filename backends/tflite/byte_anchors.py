"""Anchors as bytes, when they are exactly that.

A file that was trained with quantization stores its anchors as uint8 with a scale. Read and written again they must
be the same bytes, or its detections would move; anchors computed from a spec have no such form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.quantization.affine import quantize
from mdcompiler.weights.quantization import Quantization

_STEPS = 255
_NEIGHBOURS = 4
"""How many float32 numbers on either side of the estimated scale are tried."""


def byte_anchors(anchors: NDArray[Any]) -> tuple[NDArray[np.uint8], Quantization] | None:
    """The bytes and their scale that give `anchors` (float32 [A, 4]) exactly; None when there are none.

    Only bytes that use the whole range are looked for: the smallest anchor number is byte 0, the largest 255.
    """
    low, high = min(float(anchors.min()), 0.0), float(anchors.max())
    if high <= low:
        return None
    for scale in _around(np.float32((high - low) / _STEPS)):
        quantization = Quantization((float(scale),), (round(-low / float(scale)),), "uint8")
        data = quantize(anchors, quantization)
        if np.array_equal(quantization.dequantize(data), anchors):
            return data, quantization
    return None


def _around(scale: np.float32) -> list[np.float32]:
    found, below, above = [scale], scale, scale
    for _ in range(_NEIGHBOURS):
        below, above = np.nextafter(below, np.float32(0)), np.nextafter(above, np.float32(np.inf))
        found += [below, above]
    return found

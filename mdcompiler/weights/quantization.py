"""How a tensor's integers stand for real numbers: `real = scale * (integer - zero_point)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Quantization:
    """Affine quantization of one tensor.

    scale, zero_point: one number for the whole tensor (axis None), or one for every index along `axis` of
    the tensor in our layout (weights OIHW). dtype: of the integers: uint8, int8, int16 or int32.
    """

    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    dtype: str
    axis: int | None = None

    def dequantize(self, integers: NDArray[Any]) -> NDArray[np.float32]:
        """The real numbers, float32, that `integers` (of our layout) stand for; infinite beyond float32's range."""
        shape = [1] * integers.ndim
        if self.axis is not None:
            shape[self.axis] = -1
        scale = np.asarray(self.scale, np.float64).reshape(shape)
        zero_point = np.asarray(self.zero_point, np.int64).reshape(shape)
        with np.errstate(over="ignore"):
            return np.asarray((integers.astype(np.int64) - zero_point) * scale, np.float32)

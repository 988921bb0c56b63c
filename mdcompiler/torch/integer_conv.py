"""The weights of one convolution: floats that are trained, and the integers that they mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mdcompiler.quantization.affine import quantize
from mdcompiler.quantization.no_wrap import reach
from mdcompiler.quantization.scheme import Scheme
from mdcompiler.quantization.steps import Port, Weights
from mdcompiler.quantization.write_conv import bias_integers
from mdcompiler.weights.quantization import Quantization

_EXACT_FLOAT32 = 2**24
"""Below it every partial sum of integers is exact in float32."""


@dataclass(frozen=True)
class ConvNumbers:
    """centred: OIHW, zero points taken off. bias: in steps. scales: of the weights, one or one an output channel.

    dtype: a float type in which every partial sum of the convolution is exact.
    """

    centred: NDArray[Any]
    bias: NDArray[np.int32]
    scales: NDArray[np.float64]
    dtype: Any


class IntegerConv(nn.Module):
    """weight OIHW and bias [O]: float32, BatchNorm folded in. name: of the convolution's node."""

    def __init__(self, name: str, weight: NDArray[Any], bias: NDArray[Any], scheme: Scheme, correction: float) -> None:
        super().__init__()
        self.name, self.scheme, self.correction = name, scheme, correction
        self.weight = nn.Parameter(torch.from_numpy(np.array(weight, np.float32)))
        self.bias = nn.Parameter(torch.from_numpy(np.array(bias, np.float32)))

    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight and bias as they are now."""
        return self.weight.detach().cpu().numpy(), self.bias.detach().cpu().numpy()

    def numbers(self, source: Quantization) -> ConvNumbers:
        """The integers for an input of the quantization `source`, by the rules that `insert-qdq` follows."""
        weight, bias = self.arrays()
        real = bias.astype(np.float64)
        rule = self.scheme.weight_rule(weight, real, source.scale[0])
        integers = quantize(weight, rule)
        steps = bias_integers(self.name, real, integers, rule, source, self.correction)
        centred = Weights(integers, rule, steps).centred
        rows = np.abs(centred).reshape(len(steps), -1).sum(axis=1)
        bound = int((rows * reach(Port(self.name, (), source)) + np.abs(steps.astype(np.int64))).max())
        dtype = torch.float32 if bound < _EXACT_FLOAT32 else torch.float64
        return ConvNumbers(centred, steps, np.asarray(rule.scale, np.float64), dtype)


def as_tensor(values: NDArray[Any], like: Tensor, dtype: Any) -> Tensor:
    """`values` on the device of `like`."""
    made: Tensor = torch.from_numpy(np.ascontiguousarray(values)).to(like.device, dtype)
    return made

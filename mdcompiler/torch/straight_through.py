"""Gradients of what has none: rounding and saturation (Bengio et al. 2013, arXiv 1308.3432)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, real: Tensor, whole: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward((real >= low) & (real <= high))
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (inside,) = ctx.saved_tensors
        return gradient * inside, None, None, None


class _Damped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (factors,) = ctx.saved_tensors
        return gradient * factors, None


def straight_through(real: Tensor, whole: Tensor, low: float, high: float) -> Tensor:
    """`whole`, bit for bit, with the gradient of `real` where that lies in [low, high] and 0 where it saturates."""
    made: Tensor = _Through.apply(real, whole, low, high)
    return made


def damped(values: Tensor, factors: Tensor) -> Tensor:
    """`values` with their gradients times `factors`."""
    made: Tensor = _Damped.apply(values, factors)
    return made

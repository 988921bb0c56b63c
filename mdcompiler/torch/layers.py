"""The parts of a network as torch modules, each made from a step that lowering reads as well."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mdcompiler.lowering.steps import same_pads
from mdcompiler.spec.fields import Activation, Gate
from mdcompiler.spec.steps import Conv

BATCHNORM_MOMENTUM = 0.03
"""Share of a batch in the moving mean and variance: tensorflow/models' decay of 0.97 for SSD."""


class ConvLayer(nn.Module):
    """A convolution with TensorFlow's SAME padding, BatchNorm or bias, and an activation."""

    def __init__(self, step: Conv) -> None:
        super().__init__()
        self.step = step
        top, left, bottom, right = same_pads(step)
        even = top == bottom and left == right
        self.pads = None if even else (left, right, top, bottom)
        self.conv = nn.Conv2d(
            step.source.channels,
            step.channels,
            step.kernel,
            step.stride,
            padding=(top, left) if even else 0,
            groups=step.groups,
            bias=step.epsilon is None,
        )
        self.bn = None if step.epsilon is None else nn.BatchNorm2d(step.channels, step.epsilon, BATCHNORM_MOMENTUM)

    def forward(self, source: Tensor) -> Tensor:
        made: Tensor = self.conv(source if self.pads is None else functional.pad(source, self.pads))
        return activate(self.step.activation, made if self.bn is None else self.bn(made))


def activate(activation: Activation, source: Tensor) -> Tensor:
    """`activation` of `source`."""
    if activation == "relu6":
        return functional.relu6(source)
    if activation == "relu":
        return functional.relu(source)
    if activation == "hard-swish":
        return functional.hardswish(source)
    return functional.silu(source) if activation == "swish" else source


def open_gate(gate: Gate, source: Tensor) -> Tensor:
    """The factor that a squeeze-excite multiplies a channel by, 0 to 1."""
    return torch.sigmoid(source) if gate == "sigmoid" else functional.hardsigmoid(source)

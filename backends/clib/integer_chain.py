"""A convolution of a quantized kernel with what follows it there: pure functions on integer steps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.kernels.requantize import Rounding
from mdcompiler.errors import InternalError
from mdcompiler.quantization.rounding import conv_multiplier, rescale_part
from mdcompiler.quantization.steps import Port, Step, Weights

Array = NDArray[Any]


@dataclass
class Chain:
    """A convolution and the steps that its call does as well; output: the tensor it writes."""

    conv: Step
    table: Step | None = None
    add: Step | None = None
    output: Port = field(init=False)

    def __post_init__(self) -> None:
        self.output = (self.add or self.table or self.conv).output

    @property
    def before_add(self) -> Port:
        return (self.table or self.conv).output

    @property
    def residual(self) -> Port | None:
        """The other operand of the sum."""
        if self.add is None:
            return None
        return next(tensor for tensor in self.add.inputs if tensor.name != self.before_add.name)


def part_table(port: Port, step: Step, rounding: Rounding) -> Array:
    """All 256 values of a part of a concatenation in the scale of its result."""
    scaled = rescale_part(np.arange(256), port.zero_point, (port.scale, step.output.scale), rounding)
    return np.clip(scaled + step.output.zero_point, step.low, step.high).astype(np.uint8)


def node_of(step: Step) -> gs.Node:
    """The operator of a step that has one: all but a bare change of scale, which has no template."""
    if step.node is None:
        raise InternalError(f"{step.name} is a change of scale by itself.")
    return step.node


def weights_of(step: Step) -> Weights:
    """The constants of a convolution."""
    if step.weights is None:
        raise InternalError(f"{step.name} is no convolution.")
    return step.weights


def take_chain(steps: list[Step], may_add: bool) -> tuple[Chain, list[Step]]:
    """The convolution at the start of `steps` with the table and sum that follow it, and what is left."""
    conv, rest = steps[0], steps[1:]
    after_table = after_add = None
    made = conv.output.name
    if rest and rest[0].operation == "table" and rest[0].inputs[0].name == made:
        after_table, rest = rest[0], rest[1:]
        made = after_table.output.name
    if may_add and rest and rest[0].operation == "add" and made in [tensor.name for tensor in rest[0].inputs]:
        after_add, rest = rest[0], rest[1:]
    return Chain(conv, after_table, after_add), rest


def conv_multiplier_of(chain: Chain, weight_scale: Array, channels: int, rounding: Rounding) -> Array:
    """Sums to integers of the convolution's result, one factor a channel."""
    factor = conv_multiplier(chain.conv.inputs[0].scale, weight_scale, chain.conv.output.scale, rounding)
    return np.broadcast_to(factor, (channels,))

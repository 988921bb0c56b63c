"""One pass of pictures through the integer operations of a plan, with gradients.

Every tensor is kept as its integers minus the zero point, whole numbers in float32. An operation computes the real
number of output steps, differentiably, and the integer that the reference makes of it; the result is the integer with
the gradient of the real number (`straight_through`). In eval mode the integers are made by the rounding functions of
the integer reference itself; in train mode by rounding half to even, which is the same for schemes that do so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from mdcompiler.activation import Activation
from mdcompiler.errors import InternalError
from mdcompiler.names import kernel_path
from mdcompiler.quantization.affine import bounds, clamp_integers
from mdcompiler.quantization.curves import table
from mdcompiler.quantization.plan import PlannedStep
from mdcompiler.quantization.rounding import conv_multiplier, rescale, rescale_mean, rescale_sum
from mdcompiler.quantization.split import FloatStep
from mdcompiler.quantization.steps import Port, Step
from mdcompiler.torch.integer_conv import ConvNumbers, IntegerConv, as_tensor
from mdcompiler.torch.integer_plan import IntegerPlan, activation_of
from mdcompiler.torch.straight_through import straight_through
from mdcompiler.weights.quantization import Quantization

Exact = Callable[[], NDArray[np.int64]]
_FREE = float("inf")


class IntegerRun:
    """values: tensor -> its integers minus the zero point. scales: float32, one a group of the plan, with gradients.

    quantization: of the groups, with the same scales. exact: round as the integer reference does.
    """

    def __init__(
        self,
        plan: IntegerPlan,
        scales: Tensor,
        quantization: list[Quantization],
        layers: Callable[[str], IntegerConv],
        exact: bool,
    ) -> None:
        self.plan, self.quantization, self.layers, self.exact = plan, quantization, layers, exact
        self.scales = scales.double()
        self.values: dict[str, Tensor] = {}

    def run(self, images: Tensor) -> None:
        """Carry out every step for `images`, uint8 [N, H, W, 3]."""
        for planned in self.plan.steps:
            self.values[planned.step.output.name] = self._step(planned, images)

    def real(self, name: str) -> Tensor:
        """The real numbers of a tensor, float32."""
        return self.values[name] * self._scale(name).float()

    def integers(self, name: str) -> NDArray[Any]:
        """The integers of a tensor, of its own type."""
        found = self.quantization[self.plan.group_of[name]]
        array: NDArray[Any] = self.values[name].detach().cpu().numpy()
        return (array.astype(np.int64) + found.zero_point[0]).astype(found.dtype)

    def _scale(self, name: str) -> Tensor:
        return self.scales[self.plan.group_of[name]]

    def _of(self, name: str) -> Quantization:
        return self.quantization[self.plan.group_of[name]]

    def _step(self, planned: PlannedStep, images: Tensor) -> Tensor:
        step = planned.step
        if step.operation == "picture":
            return images.permute(0, 3, 1, 2).float() - float(self.plan.picture.zero_point[0])
        if step.operation == "conv":
            return self._conv(step)
        if step.operation == "table":
            return self._table(step)
        if step.operation == "move":
            return self._move(step)
        if step.operation == "concat":
            return self._concat(step)
        return self._arithmetic(step)

    def _conv(self, step: FloatStep) -> Tensor:
        source, result = step.inputs[0].name, step.output.name
        layer = self.layers(kernel_path(step.name))
        numbers = layer.numbers(self._of(source))
        x = self.values[source]
        scales = as_tensor(numbers.scales, x, torch.float64)
        total = self._convolve(step, x, layer, numbers, scales * self._scale(source))
        factor = (self._scale(source) * scales / self._scale(result)).reshape(-1, 1, 1)

        def exact() -> NDArray[np.int64]:
            rounding = self.plan.scheme.rounding
            ratio = conv_multiplier(self._of(source).scale[0], numbers.scales, self._of(result).scale[0], rounding)
            return rescale(_array(total), ratio.reshape(-1, 1, 1), rounding)

        return self._rounded(step, total.float() * factor.float(), exact)

    def _convolve(
        self, step: FloatStep, x: Tensor, layer: IntegerConv, numbers: ConvNumbers, bias_scale: Tensor
    ) -> Tensor:
        """The accumulator: `bias + sum x * w` in steps, every partial sum exact."""
        # cuDNN may choose Winograd or TF32 for float32
        dtype = torch.float64 if self.exact and x.device.type != "cpu" else numbers.dtype
        weight = layer.weight / as_tensor(numbers.scales, x, torch.float32).reshape(-1, 1, 1, 1)
        weight = straight_through(weight, as_tensor(numbers.centred, x, torch.float32), -_FREE, _FREE)
        bias = straight_through(layer.bias / bias_scale, as_tensor(numbers.bias, x, torch.float64), -_FREE, _FREE)
        attributes = step.nodes[0].attrs
        top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
        padded = functional.pad(x, (left, right, top, bottom)) if any((top, left, bottom, right)) else x
        strides, groups = tuple(attributes.get("strides", [1, 1])), int(attributes.get("group", 1))
        made: Tensor = functional.conv2d(padded.to(dtype), weight.to(dtype), bias.to(dtype), strides, groups=groups)
        return made

    def _arithmetic(self, step: FloatStep) -> Tensor:
        """A sum, a product, or the mean of a picture."""
        names = [tensor.name for tensor in step.inputs]
        values, scales = [self.values[name] for name in names], [self._of(name).scale[0] for name in names]
        result, out = self._scale(step.output.name), self._of(step.output.name).scale[0]
        rounding = self.plan.scheme.rounding
        if step.operation == "add":
            parts = [x * (self._scale(name) / result).float() for x, name in zip(values, names, strict=True)]
            return self._rounded(
                step,
                parts[0] + parts[1],
                lambda: rescale_sum(_array(values[0]), _array(values[1]), (scales[0], scales[1], out), rounding),
            )
        if step.operation == "product":
            total = values[0] * values[1]
            factor = self._scale(names[0]) * self._scale(names[1]) / result
            return self._rounded(
                step,
                total * factor.float(),
                lambda: rescale(_array(total), scales[0] * scales[1] / out, rounding),
            )
        if step.operation != "pool":
            raise InternalError(f"{step.name}: a plan has no {step.operation} of its own")
        count = values[0].shape[2] * values[0].shape[3]
        total = values[0].double().sum((2, 3), keepdim=True)
        factor = self._scale(names[0]) / (count * result)
        return self._rounded(
            step, total.float() * factor.float(), lambda: rescale_mean(_array(total), count, (scales[0], out), rounding)
        )

    def _rounded(self, step: FloatStep, real: Tensor, exact: Exact) -> Tensor:
        """The integers of `real` steps, clamped as the step says."""
        found = self._of(step.output.name)
        low, high = (float(end - found.zero_point[0]) for end in clamp_integers(found, step.low, step.high))
        whole = as_tensor(exact(), real, torch.float32) if self.exact else torch.round(real.detach())
        return straight_through(real, whole.clamp(low, high), low - 0.5, high + 0.5)

    def _table(self, step: FloatStep) -> Tensor:
        source, result = step.inputs[0].name, step.output.name
        before, after, activation = self._of(source), self._of(result), activation_of(step)
        least, most = bounds(after.dtype)
        ports = Port(source, (), before), Port(result, (), after)
        read = Step("table", step.name, ports[:1], ports[1], least, most, activation=activation)
        entries = table(read, self.plan.scheme.rounding).astype(np.int64) - after.zero_point[0]
        x = self.values[source]
        index = x.detach().long() + (before.zero_point[0] - bounds(before.dtype)[0])
        real = curve(activation, self.real(source)) / self._scale(result).float()
        low, high = (float(end - after.zero_point[0]) for end in (least, most))
        return straight_through(real, as_tensor(entries, x, torch.float32)[index], low - 0.5, high + 0.5)

    def _move(self, step: FloatStep) -> Tensor:
        node, x = step.nodes[0], self.values[step.inputs[0].name]
        if node.op == "Transpose":
            return x.permute(*node.attrs["perm"])
        return x.reshape(x.shape[0], *step.output.shape[1:])

    def _concat(self, step: FloatStep) -> Tensor:
        names = [tensor.name for tensor in step.inputs]
        if {self.plan.group_of[name] for name in (*names, step.output.name)} != {self.plan.group_of[names[0]]}:
            raise InternalError(f"{step.name}: the parts of a join in a plan share one scale")
        return torch.cat([self.values[name] for name in names], int(step.nodes[0].attrs["axis"]))


def curve(activation: Activation, x: Tensor) -> Tensor:
    """`activation` of `x`, with its gradient."""
    if activation.kind == "hard_sigmoid":
        return (activation.alpha * x + activation.beta).clamp(0, 1)
    if activation.kind in ("relu", "clip"):
        return x.clamp(activation.low, activation.high)
    curves = {"sigmoid": torch.sigmoid, "swish": functional.silu, "hard_swish": functional.hardswish}
    made: Tensor = curves[activation.kind](x)
    return made


def _array(values: Tensor) -> NDArray[Any]:
    made: NDArray[Any] = values.detach().cpu().numpy()
    return made

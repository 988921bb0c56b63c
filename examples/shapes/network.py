"""A spec as a torch network that gives, in eval mode, what the lowered graph gives.

It is built from the steps that lowering reads (`build_network`), so it has the same convolutions, padding, epsilons
and activations, and its tensors have the names of `weight_shapes(spec)`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mdcompiler.lowering.steps import same_pads
from mdcompiler.spec import Spec, build_network
from mdcompiler.spec.network import Predictor
from mdcompiler.spec.steps import Add, Conv, SqueezeExcite, Step

Weights = dict[str, NDArray[np.float32]]

BATCHNORM_MOMENTUM = 0.03
_PARTS = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}


class TorchDetector(nn.Module):
    """images uint8 [N, H, W, 3] -> box encodings [N, A, 4] and class logits [N, A, K] (slot 0: background)."""

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.network = build_network(spec)
        self.steps = list(self.network.steps)
        self.layers = nn.ModuleList([_layer(step) for step in self.steps])
        self._last_use = _last_use(self.steps)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        picture = images.permute(0, 3, 1, 2).float() * self.spec.input.scale + self.spec.input.offset
        values = {self.steps[0].source.name: picture.contiguous(memory_format=torch.channels_last)}
        kept: dict[str, Tensor] = {}
        for number, (step, layer) in enumerate(zip(self.steps, self.layers, strict=True)):
            kept[step.output.name] = values[step.output.name] = _run(step, layer, values)
            for name in [name for name, last in self._last_use.items() if last == number and name in values]:
                del values[name]
            kept = {name: value for name, value in kept.items() if name.endswith("/pw/conv")}
        boxes = [_rows(level.box, kept) for level in self.network.levels]
        logits = [_rows(level.scores, kept) for level in self.network.levels]
        return torch.cat(boxes, 1), torch.cat(logits, 1)

    def named_weights(self) -> dict[str, Tensor]:
        """Every tensor of the network (not a copy) under the name it has in weights files."""
        found: dict[str, Tensor] = {}
        for layer in self.layers:
            for module in layer.modules():
                if isinstance(module, ConvLayer):
                    found.update(module.named_weights())
        return found

    def weights(self) -> Weights:
        """A float32 copy of the weights for `lower`."""
        return {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in self.named_weights().items()}

    @torch.no_grad()
    def load(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Take over `weights`, named and shaped like `weight_shapes(spec)`."""
        for name, tensor in self.named_weights().items():
            tensor.copy_(torch.from_numpy(np.array(weights[name], np.float32)))


def channels_last(model: TorchDetector) -> TorchDetector:
    """The same network with its convolutions stored channels last, which is faster on processors and GPUs."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


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
        if self.bn is not None:
            made = self.bn(made)
        return _activate(self.step.activation, made)

    def named_weights(self) -> dict[str, Tensor]:
        """Its tensors by the names of `Conv.weights`."""
        found: dict[str, Tensor] = {f"{self.step.path}/weight": self.conv.weight}
        if self.conv.bias is not None:
            found[f"{self.step.path}/bias"] = self.conv.bias
        if self.bn is not None:
            found |= {f"{self.step.path}/bn/{ours}": getattr(self.bn, theirs) for ours, theirs in _PARTS.items()}
        return found


class SqueezeLayer(nn.Module):
    """Every channel times a gate computed from the mean of all channels."""

    def __init__(self, step: SqueezeExcite) -> None:
        super().__init__()
        self.gate = step.gate
        self.reduce = ConvLayer(step.reduce)
        self.expand = ConvLayer(step.expand)

    def forward(self, source: Tensor) -> Tensor:
        gate = self.expand(self.reduce(source.mean((2, 3), keepdim=True)))
        return source * (torch.sigmoid(gate) if self.gate == "sigmoid" else functional.hardsigmoid(gate))


def _layer(step: Step) -> nn.Module:
    if isinstance(step, Conv):
        return ConvLayer(step)
    return SqueezeLayer(step) if isinstance(step, SqueezeExcite) else nn.Identity()


def _run(step: Step, layer: nn.Module, values: Mapping[str, Tensor]) -> Tensor:
    source = values[step.source.name]
    made: Tensor = source + values[step.shortcut.name] if isinstance(step, Add) else layer(source)
    return made


def _last_use(steps: list[Step]) -> dict[str, int]:
    """The number of the last step that reads a tensor, by name; the rest may be freed."""
    found: dict[str, int] = {}
    for number, step in enumerate(steps):
        found[step.source.name] = number
        if isinstance(step, Add):
            found[step.shortcut.name] = number
    return found


def _activate(activation: str, source: Tensor) -> Tensor:
    if activation == "relu6":
        return functional.relu6(source)
    if activation == "relu":
        return functional.relu(source)
    if activation == "hard-swish":
        return functional.hardswish(source)
    return functional.silu(source) if activation == "swish" else source


def _rows(predictor: Predictor, values: Mapping[str, Tensor]) -> Tensor:
    """One row an anchor: level, row, column, anchor."""
    output = values[predictor.steps[-1].output.name]
    return output.permute(0, 2, 3, 1).reshape(output.shape[0], -1, predictor.slots).float()

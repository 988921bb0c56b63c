"""A spec as a torch module that gives, in eval mode, what the lowered graph gives.

It is built from the steps that lowering reads (`build_network`), so it has the same convolutions, padding, epsilons
and activations; there is no second description of a block. A convolution is found under its path:
`module.get_submodule("C4/b2.ibn/expand")`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mdcompiler.errors import InputError
from mdcompiler.spec import Spec, build_network
from mdcompiler.spec.network import Predictor
from mdcompiler.spec.steps import Add, Conv, SqueezeExcite, Step
from mdcompiler.torch.initialize import initialize
from mdcompiler.torch.layers import ConvLayer, open_gate
from mdcompiler.torch.weights import load_weights


def build(spec: Spec, weights: str | Path | Mapping[str, NDArray[Any]] | None = None) -> DetectorModule:
    """The network of `spec` as a module, in train mode.

    weights: a weights file or tensors by name, as `load_weights` takes them; None: drawn by torch's generator.
    """
    module = DetectorModule(spec)
    initialize(module)
    if weights is not None:
        load_weights(module, weights)
    return module


class DetectorModule(nn.Module):
    """Pictures uint8 [N, H, W, 3] -> box encodings [N, A, 4] and class scores [N, A, K], slot 0 the background.

    In train mode the second are logits, as losses want them; in eval mode scores, after the sigmoid, as the lowered
    graph has them. `spec`: what it was built from. Pixels may also be floats from 0 to 255.
    """

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        self.spec = spec
        self.network = build_network(spec)
        self.steps = tuple(self.network.steps)
        for step in self.steps:
            for conv in convolutions(step):
                place(self, conv.path, ConvLayer(conv))
        self._last_use = _last_use(self.steps)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        encodings, logits = self.logits(images)
        return encodings, logits if self.training else torch.sigmoid(logits)

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Box encodings [N, A, 4] and class logits [N, A, K], in either mode."""
        values = {self.steps[0].source.name: self._picture(images)}
        for number, step in enumerate(self.steps):
            values[step.output.name] = self._run(step, values)
            for name in self._last_use.get(number, ()):
                values.pop(name, None)
        boxes = [_rows(level.box, values) for level in self.network.levels]
        scores = [_rows(level.scores, values) for level in self.network.levels]
        return torch.cat(boxes, 1), torch.cat(scores, 1)

    def _picture(self, images: Tensor) -> Tensor:
        picture = self.spec.input
        if images.ndim != 4 or tuple(images.shape[1:]) != (picture.height, picture.width, 3):
            raise InputError(
                f"running {self.spec.name} in torch: the pictures have shape {list(images.shape)}; "
                f"[N, {picture.height}, {picture.width}, 3] is wanted. Resize them, or build the spec for their size."
            )
        moved = images.permute(0, 3, 1, 2).float() * picture.scale + picture.offset
        return moved.contiguous(memory_format=torch.channels_last)

    def _run(self, step: Step, values: Mapping[str, Tensor]) -> Tensor:
        source = values[step.source.name]
        if isinstance(step, Add):
            return source + values[step.shortcut.name]
        if isinstance(step, Conv):
            return self._convolve(step, source)
        pooled = source.mean((2, 3), keepdim=True)
        gate = self._convolve(step.expand, self._convolve(step.reduce, pooled))
        return source * open_gate(step.gate, gate)

    def _convolve(self, step: Conv, source: Tensor) -> Tensor:
        return self.get_submodule(step.path)(source)


def convolutions(step: Step) -> tuple[Conv, ...]:
    """The convolutions inside a step."""
    if isinstance(step, SqueezeExcite):
        return step.reduce, step.expand
    return (step,) if isinstance(step, Conv) else ()


def place(root: nn.Module, path: str, layer: nn.Module) -> None:
    """Make `layer` a submodule of `root` under `path`, whose dots part the levels of the tree."""
    *outer, last = path.split(".")
    for name in outer:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    root.add_module(last, layer)


def _last_use(steps: tuple[Step, ...]) -> dict[int, list[str]]:
    """Number of a step -> the tensors that no later one reads, which may be freed."""
    last: dict[str, int] = {}
    for number, step in enumerate(steps):
        last[step.source.name] = number
        if isinstance(step, Add):
            last[step.shortcut.name] = number
    found: dict[int, list[str]] = {}
    for name, number in last.items():
        found.setdefault(number, []).append(name)
    return found


def _rows(predictor: Predictor, values: Mapping[str, Tensor]) -> Tensor:
    """One row an anchor: level, row, column, anchor."""
    output = values[predictor.steps[-1].output.name]
    return output.permute(0, 2, 3, 1).reshape(output.shape[0], -1, predictor.slots).float()

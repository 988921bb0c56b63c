"""Exponential moving average of weights: what is shipped of a training, calmer than its last step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mdcompiler.torch.weights import Weights, named_weights

DECAY = 0.998


class WeightAverage:
    """The average of a module's weights, moving statistics included, by the names of weights files.

    decay: share of the average that a step keeps, once there were many; the first steps keep less, so that the
    beginning is forgotten. tensors: the average, to be saved and filled again.
    """

    def __init__(self, module: nn.Module, decay: float = DECAY) -> None:
        self.decay, self.steps = decay, 0
        self.tensors = {name: tensor.detach().clone() for name, tensor in _floats(module).items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Add the weights after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for name, tensor in _floats(module).items():
            self.tensors[name].lerp_(tensor, 1 - decay)

    @torch.no_grad()
    def copy_to(self, module: nn.Module) -> None:
        """Make the average the weights of `module`."""
        for name, tensor in _floats(module).items():
            tensor.copy_(self.tensors[name])

    def weights(self) -> Weights:
        """A float32 copy of the average, as `save_weights` of `mdcompiler.weights` takes it."""
        return {name: tensor.float().cpu().numpy().copy() for name, tensor in self.tensors.items()}


def _floats(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in named_weights(module).items() if tensor.is_floating_point()}

"""Weights between torch modules and weights files; names and layouts: `mdcompiler.weights.torch_names`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mdcompiler import weights as files
from mdcompiler.spec import weight_shapes
from mdcompiler.weights.torch_names import weight_name

Weights = dict[str, NDArray[np.float32]]


def named_weights(module: nn.Module) -> dict[str, Tensor]:
    """Every tensor of the network, no copy, under the name it has in weights files, moving statistics included."""
    tensors = module.state_dict(keep_vars=True)
    return {name: tensor for key, tensor in tensors.items() if (name := weight_name(key))}


def export_weights(module: nn.Module) -> Weights:
    """A float32 copy of the weights of a module of `build`, by the names and in the layouts of weights files."""
    return {name: np.array(tensor.detach().float().cpu().numpy()) for name, tensor in named_weights(module).items()}


def save_weights(module: nn.Module, path: str | Path, half: bool = False) -> None:
    """Write the weights to a `.safetensors` or `.npz` file that `mdc compile --weights` takes. half: in float16."""
    dtype = np.float16 if half else np.float32
    files.save_weights(path, {name: array.astype(dtype) for name, array in export_weights(module).items()})


@torch.no_grad()
def load_weights(module: Any, source: str | Path | Mapping[str, NDArray[Any]]) -> None:
    """Take over weights: tensors by name, or any file that `mdc compile --weights` takes for the module's spec.

    Raises WeightsError that lists every tensor at fault; the module is then as it was.
    """
    if isinstance(source, Mapping):
        files.check_weights(weight_shapes(module.spec), source)
    found = source if isinstance(source, Mapping) else files.weights_for(module.spec, source)
    for name, tensor in named_weights(module).items():
        tensor.copy_(torch.from_numpy(np.array(found[name], np.float32)))

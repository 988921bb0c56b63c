"""The state of a training in one safetensors file: tensors by name, everything else as JSON in its header.

The file takes its place in one step, so a training killed at any moment finds either the old state or the new one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from mdcompiler.errors import WeightsError
from mdcompiler.foreign import refusing
from mdcompiler.write_aside import write_file

Tensors = dict[str, Tensor]


def save_checkpoint(path: Path, tensors: Tensors, state: dict[str, Any]) -> None:
    """Replace `path` by `tensors` and `state` (what JSON can hold)."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_file(path, safetensors.torch.save(plain, metadata={"state": json.dumps(state)}))


def load_checkpoint(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and state of `path`. Raises WeightsError for a file that is no checkpoint."""
    doing = f"reading the checkpoint {path}"
    with (
        refusing(doing, WeightsError, "Begin anew, or give one that save_checkpoint wrote."),
        safetensors.safe_open(path, "pt") as file,
    ):
        state: dict[str, Any] = json.loads(file.metadata()["state"])
        names: list[str] = list(file.keys())
        return {name: file.get_tensor(name) for name in names}, state


def optimizer_tensors(optimizer: Any) -> Tensors:
    """The state of an optimizer by name, `optimizer/<number>/<key>`."""
    states = optimizer.state_dict()["state"].items()
    return {f"optimizer/{index}/{key}": value for index, state in states for key, value in state.items()}


def load_optimizer(optimizer: Any, tensors: Tensors) -> None:
    """Take over what `optimizer_tensors` named; the groups and their rates stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("/")
        if kind == "optimizer":
            index, _, key = rest.partition("/")
            state.setdefault(int(index), {})[key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})

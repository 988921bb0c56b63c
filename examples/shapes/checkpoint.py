"""The state of a training in one safetensors file: tensors by name, everything else as JSON in its header.

One file, written aside and renamed, so a training killed at any moment finds either the old state or the new one.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

Tensors = dict[str, Tensor]


def save_checkpoint(path: Path, tensors: Tensors, state: dict[str, Any]) -> None:
    """Replace `path` by `tensors` and `state` (what JSON can hold)."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = safetensors.torch.save(plain, metadata={"state": json.dumps(state)})
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def load_checkpoint(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and state of `path`. Raises OSError or safetensors.SafetensorError for a file that is none."""
    with safetensors.safe_open(path, "pt") as file:
        state: dict[str, Any] = json.loads(file.metadata()["state"])
        names: list[str] = file.keys()
        return {name: file.get_tensor(name) for name in names}, state

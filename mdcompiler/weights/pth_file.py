"""`.pth` and `.pt` weights: a state_dict that torch saved, of `mdcompiler.torch` or with our names as keys.

Such a file is a ZIP archive with a pickle inside, and a pickle is a program. Only torch's own reader with
`weights_only=True` looks at it, which knows tensors and plain containers and runs nothing else; without torch the
file is refused. Sizes are bounded before: the archive may not unpack to more than its limit, and a tensor may not
claim more elements than that either (a view with stride 0 would).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import MissingToolError, WeightsError
from mdcompiler.foreign import refusing
from mdcompiler.weights.bounded import MAX_FILE_BYTES, MAX_TENSORS, element_count, read_bounded
from mdcompiler.weights.torch_names import weight_name

_FLOATS = ("torch.float32", "torch.float16", "torch.bfloat16")


def read_pth(path: Path) -> dict[str, NDArray[Any]]:
    """float32 tensors of `path` by the names of weights files.

    Raises MissingToolError without torch, WeightsError for a file that is no plain state_dict or too large.
    """
    if find_spec("torch") is None:
        raise MissingToolError(
            f"reading weights: {path} is a file of torch, which is not installed. Run `pip install "
            "'mdcompiler[train]'`, or save the weights with mdcompiler.torch.save_weights as .safetensors."
        )
    data = read_bounded(path)
    with refusing(f"reading weights: {path}", WeightsError, "Save it with torch.save(module.state_dict(), path)."):
        _check_archive(data)
        return _tensors(_load(data))


def _check_archive(data: bytes) -> None:
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise ValueError("it is no ZIP archive, as torch writes since 1.6")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    total = sum(info.file_size for info in members)
    if len(members) > MAX_TENSORS or total > MAX_FILE_BYTES:
        raise ValueError(
            f"it declares {len(members)} members of {total} bytes unpacked; "
            f"{MAX_TENSORS} and {MAX_FILE_BYTES} bytes are allowed"
        )


def _load(data: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _tensors(loaded: Any) -> dict[str, NDArray[Any]]:
    import torch

    if not isinstance(loaded, Mapping):
        raise ValueError(f"it holds a {type(loaded).__name__}, no state_dict")
    found: dict[str, NDArray[Any]] = {}
    total = 0
    for key, tensor in loaded.items():
        name = weight_name(str(key))
        if not name:
            continue
        if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise ValueError(f"{key} is no plain tensor")
        if str(tensor.dtype) not in _FLOATS:
            raise ValueError(f"{key} is {tensor.dtype}; {', '.join(_FLOATS)} are allowed")
        total += element_count(tuple(tensor.shape)) or (0 if 0 in tensor.shape else MAX_FILE_BYTES)
        if total * 4 > MAX_FILE_BYTES:
            raise ValueError(f"{key} has shape {list(tensor.shape)[:8]}, beyond {MAX_FILE_BYTES} bytes of float32")
        if name in found:
            raise ValueError(f"it holds two tensors called {name}")
        found[name] = np.array(tensor.detach().to(torch.float32).numpy())
    return found

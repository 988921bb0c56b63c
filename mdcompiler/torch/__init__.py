"""The PyTorch bridge (extra `train`): specs as torch modules, weights there and back, training, integers.

>>> from mdcompiler.spec import load_spec
>>> from mdcompiler.torch import build, save_weights
>>> module = build(load_spec("mobiledet-cpu"))          # trains like any other module
>>> save_weights(module, "trained.safetensors")         # mdc compile mobiledet-cpu --weights trained.safetensors

Nothing else in the toolkit imports torch. docs/torch.md is the guide.
"""

from __future__ import annotations

from importlib.util import find_spec

from mdcompiler.errors import MissingToolError

if find_spec("torch") is None:
    raise MissingToolError(
        "importing mdcompiler.torch: PyTorch is not installed. Run `pip install 'mdcompiler[train]'`."
    )

from mdcompiler.torch.augmentation import augment
from mdcompiler.torch.averaging import WeightAverage
from mdcompiler.torch.checkpoint import load_checkpoint, save_checkpoint
from mdcompiler.torch.detector import DetectorModule, build
from mdcompiler.torch.losses import detection_loss, focal_loss, hard_negative_loss
from mdcompiler.torch.quantized import QuantizedModule, export_quantized, float_weights, prepare_qat, save_quantized
from mdcompiler.torch.targets import Targets
from mdcompiler.torch.weights import export_weights, load_weights, save_weights

__all__ = [
    "DetectorModule",
    "QuantizedModule",
    "Targets",
    "WeightAverage",
    "augment",
    "build",
    "detection_loss",
    "export_quantized",
    "export_weights",
    "float_weights",
    "focal_loss",
    "hard_negative_loss",
    "load_checkpoint",
    "load_weights",
    "prepare_qat",
    "save_checkpoint",
    "save_quantized",
    "save_weights",
]

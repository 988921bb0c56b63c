"""Import from a TensorFlow 1 checkpoint of a published MobileDet (TensorFlow Object Detection API).

Training leftovers (momenta, averages, the step counter, the ranges of quantization-aware training) are
passed by; every other variable must belong to the network. TensorFlow itself is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import WeightsError
from mdcompiler.weights.seeded import Weights
from mdcompiler.weights.tf1_bundle import Bundle, read_bundle, read_tensors
from mdcompiler.weights.tf1_names import backbone_scope, tf1_names

_TRAINING_ONLY = (
    "/Momentum",
    "/ExponentialMovingAverage",
    "/RMSProp",
    "/RMSProp_1",
    "/Adam",
    "/Adam_1",
    "_quant/min",
    "_quant/max",
)


def load_tf1(path: str | Path, shapes: Mapping[str, tuple[int, ...]]) -> Weights:
    """float32 tensors under our names (convolutions OIHW) from the checkpoint that `path` belongs to.

    path: the `.index`, a `.data-…` shard, or the prefix of both. shapes: weight_shapes' answer for the spec.
    A variable that the network lacks keeps its own name, so that `check_weights` lists it.
    Raises WeightsError when the files are damaged or hold no MobileDet.
    """
    bundle = read_bundle(Path(path))
    ours = {theirs: name for name, theirs in tf1_names(shapes, _scope(bundle)).items()}
    tensors = read_tensors(bundle, is_inference_variable)
    return {ours.get(name, name): to_oihw(name, tensor) for name, tensor in tensors.items()}


def is_inference_variable(name: str) -> bool:
    """Whether the checkpoint variable `name` is needed to run the network."""
    return name != "global_step" and not name.endswith(_TRAINING_ONLY)


def to_oihw(name: str, tensor: NDArray[Any]) -> NDArray[Any]:
    """A checkpoint variable in our layout: HWIO -> OIHW, depthwise [k, k, C, 1] -> [C, 1, k, k]."""
    if tensor.ndim != 4:
        return tensor
    order = (2, 3, 0, 1) if name.endswith("/depthwise_weights") else (3, 2, 0, 1)
    return np.ascontiguousarray(tensor.transpose(order))


def _scope(bundle: Bundle) -> str:
    scope = backbone_scope(bundle.entries)
    if scope is None:
        raise WeightsError(
            f"reading weights: {bundle.prefix}.index has no variable FeatureExtractor/<network>/Conv/weights; "
            "a MobileDet checkpoint of the TensorFlow Object Detection API is read. Export one, or give another file."
        )
    return scope

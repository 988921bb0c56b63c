"""The weights of a network, from wherever the user has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mdcompiler.errors import SpecError, WeightsError
from mdcompiler.spec import Spec, weight_shapes
from mdcompiler.weights.check import check_weights
from mdcompiler.weights.files import SUFFIXES, load_weights
from mdcompiler.weights.seeded import Weights, seeded_weights
from mdcompiler.weights.tf1 import load_tf1
from mdcompiler.weights.tf1_bundle import is_checkpoint
from mdcompiler.weights.tflite import read_tflite
from mdcompiler.weights.tflite_file import read_graph
from mdcompiler.weights.tflite_spec import tflite_spec


@dataclass(frozen=True)
class FittedSpec:
    """A spec adapted to a weights file; changes reads "head.classes 90 -> 2", empty when it fitted."""

    spec: Spec
    changes: tuple[str, ...] = ()


def weights_for(spec: Spec, path: str | Path | None = None, seed: int = 0) -> Weights:
    """Complete, checked float32 weights for the network of `spec`, under its names.

    path: a `.safetensors` or `.npz` file with our names, a `.pth` of `mdcompiler.torch`, a MobileDet `.tflite`, or a
    TensorFlow 1 checkpoint (its `.index` or prefix); None: seeded weights, a network without training.
    Raises WeightsError that lists every tensor at fault, MissingToolError when a `.tflite` or `.pth` lacks its reader.
    """
    shapes = weight_shapes(spec)
    if path is None:
        return seeded_weights(shapes, seed)
    weights = _read(spec, Path(path))
    check_weights(shapes, weights, str(path))
    return weights


def fit_spec(spec: Spec, path: str | Path | None) -> FittedSpec:
    """`spec` with what the weights file itself knows better: input size, classes and post-processing.

    Only a `.tflite` file knows any of it. Raises WeightsError when the file is damaged or says what no spec may.
    """
    if path is None or not _is_tflite(Path(path)):
        return FittedSpec(spec)
    try:
        return FittedSpec(*tflite_spec(read_graph(Path(path)), spec))
    except SpecError as error:
        raise WeightsError(f"reading weights: {path} says what no spec may: {error}") from None


def _read(spec: Spec, path: Path) -> Weights:
    if _is_tflite(path):
        return read_tflite(path, spec).weights
    if is_checkpoint(path):
        return load_tf1(path, weight_shapes(spec))
    if path.suffix.lower() not in SUFFIXES:
        raise WeightsError(
            f"reading weights: {path} is of no known kind. Give a .safetensors, .npz or .pth file, a MobileDet's "
            ".tflite, or a TensorFlow 1 checkpoint (its .index, or the part of the name before that)."
        )
    return load_weights(path)


def _is_tflite(path: Path) -> bool:
    return path.suffix.lower() == ".tflite"

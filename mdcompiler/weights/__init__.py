"""Weights of a network: seeded, read from files, imported from TensorFlow Lite and TensorFlow 1.

>>> from mdcompiler.spec import load_spec
>>> from mdcompiler.weights import weights_for
>>> weights = weights_for(load_spec("mobiledet-cpu"), seed=1)
>>> weights["C1/b0.conv/conv/weight"].shape
(16, 3, 3, 3)
"""

from mdcompiler.weights.check import check_weights
from mdcompiler.weights.files import load_weights, save_weights
from mdcompiler.weights.quantization import Quantization
from mdcompiler.weights.seeded import Weights, seeded_weights
from mdcompiler.weights.source import FittedSpec, fit_spec, weights_for
from mdcompiler.weights.tf1 import load_tf1
from mdcompiler.weights.tf1_names import tf1_names
from mdcompiler.weights.tflite import TfliteImport, read_tflite

__all__ = [
    "FittedSpec",
    "Quantization",
    "TfliteImport",
    "Weights",
    "check_weights",
    "fit_spec",
    "load_tf1",
    "load_weights",
    "read_tflite",
    "save_weights",
    "seeded_weights",
    "tf1_names",
    "weights_for",
]

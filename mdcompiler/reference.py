"""The reference that everything is compared with: ONNX semantics, nothing fused, nothing reordered.

ONNX Runtime with optimisations off where it is installed (fast), else the reference evaluator of the
onnx package (slow, the same numbers within float32 rounding).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from mdcompiler.backend import Arrays


def run_reference(model: onnx.ModelProto, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Outputs of `model` by name."""
    try:
        import onnxruntime
    except ImportError:
        return _run_onnx(model, inputs)
    return _run_onnxruntime(onnxruntime, model, inputs)


def _run_onnx(model: onnx.ModelProto, inputs: Arrays) -> dict[str, NDArray[Any]]:
    outputs = ReferenceEvaluator(model).run(None, dict(inputs))
    return {value.name: np.asarray(array) for value, array in zip(model.graph.output, outputs, strict=True)}


def _run_onnxruntime(runtime: Any, model: onnx.ModelProto, inputs: Arrays) -> dict[str, NDArray[Any]]:
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))

"""The judge of meaning: ONNX semantics, nothing fused, nothing reordered.

ONNX Runtime with optimisations off where it is installed and has the kernels (fast), else the reference evaluator of
the onnx package (slow, the same numbers within float32 rounding). Valid ONNX exists that ONNX Runtime refuses
(`SAME` padding with dilations, convolutions in float64), so its refusal is nobody's fault and never the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from mdcompiler.errors import ModelError
from mdcompiler.telemetry import onnx_runtime

Arrays = Mapping[str, NDArray[Any]]
_REASON_LENGTH = 200
_FAILED = re.compile(r"while running (\w+) node")
_SELECTS = frozenset({"Gather", "GatherElements", "GatherND", "Scatter", "ScatterElements", "ScatterND"})


def run_reference(model: onnx.ModelProto, inputs: Arrays) -> dict[str, NDArray[Any]]:
    """Outputs of `model` by name, once. Raises ModelError where no judge can run it."""
    return Reference(model).run(inputs)


def open_session(model: onnx.ModelProto) -> Any:
    """`model` in ONNX Runtime, nothing optimised. Raises what the runtime raises, ImportError where there is none."""
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Reference:
    """`model` under the first judge that can run it; ready for several inputs."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._names = [value.name for value in model.graph.output]
        self._refusals: list[str] = []
        self._session = self._opened()
        self._evaluator: ReferenceEvaluator | None = None

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises ModelError, with every judge's reason, where none can compute them."""
        if self._session is not None:
            try:
                return self._named(self._session.run(self._names, dict(inputs)))
            except Exception as error:  # a kernel may refuse what the session accepted
                self._refuse("ONNX Runtime", error)
                if self._is_about_values(error):
                    raise ModelError(self._beyond()) from error
                self._session = None
        try:
            return self._named(self._evaluated(inputs))
        except Exception as error:
            self._refuse("the reference evaluator of onnx", error)
            raise ModelError(
                f"running the network as ONNX defines it: {'; '.join(self._refusals)}. Without a reference nothing "
                "says what the network means: export it with operators and types that one of them runs, or compile "
                "unchecked with --no-check."
            ) from error

    def _is_about_values(self, error: Exception) -> bool:
        """Whether indices are out of range; the evaluator would wrap them around, which is nothing that ONNX says."""
        failed = _FAILED.search(str(error))
        return failed is not None and failed[1] in _SELECTS

    def _beyond(self) -> str:
        return (
            f"running the network as ONNX defines it: {'; '.join(self._refusals)}. The inputs that it is checked with "
            "select elements outside of a tensor: hand over arrays that it is made for with --check-input, or compile "
            "unchecked with --no-check."
        )

    def _opened(self) -> Any:
        try:
            return open_session(self._model)
        except Exception as error:  # classes of its own for every kind of refusal, all children of Exception
            self._refuse("ONNX Runtime", error)
            return None

    def _evaluated(self, inputs: Arrays) -> Any:
        if self._evaluator is None:
            self._evaluator = ReferenceEvaluator(self._model)
        with np.errstate(all="ignore"):
            return self._evaluator.run(None, dict(inputs))

    def _named(self, outputs: Any) -> dict[str, NDArray[Any]]:
        return {name: np.asarray(array) for name, array in zip(self._names, outputs, strict=True)}

    def _refuse(self, judge: str, error: Exception) -> None:
        self._refusals.append(f"{judge} refuses it ({' '.join(str(error).split())[:_REASON_LENGTH]})")

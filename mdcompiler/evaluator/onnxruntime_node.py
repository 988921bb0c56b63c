"""One node in ONNX Runtime, unoptimised."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.errors import MissingToolError
from mdcompiler.module import PREFIX, export
from mdcompiler.operators import attach_functions
from mdcompiler.telemetry import onnx_runtime

Array = NDArray[Any]


class OnnxRuntimeNode:
    """`node`, whose inputs have the types and shapes of `reads`; None where one is left out."""

    def __init__(self, node: gs.Node, opset: int, reads: list[Array | None]) -> None:
        names = [f"in{index}" for index in range(len(reads))]
        inputs = [
            gs.Variable.empty() if array is None else gs.Variable(name, array.dtype, list(array.shape))
            for name, array in zip(names, reads, strict=True)
        ]
        outputs = [gs.Variable(f"out{index}", item.dtype) for index, item in enumerate(node.outputs)]
        attributes = {key: value for key, value in node.attrs.items() if not key.startswith(PREFIX)}
        alone = gs.Node(node.op, "node", attributes, inputs, outputs, node.domain)
        graph = gs.Graph([alone], [item for item in inputs if not item.is_empty()], outputs, opset=opset)
        self._names = names
        self._session = open_session(attach_functions(export(graph)).SerializeToString())

    def run(self, reads: list[Array | None]) -> list[Array]:
        """The node's results in order."""
        feeds = {name: array for name, array in zip(self._names, reads, strict=True) if array is not None}
        return [np.asarray(array) for array in self._session.run(None, feeds)]


def open_session(content: bytes) -> Any:
    """A model in ONNX Runtime on this processor: no fusion, no reordering, no thread that waits by spinning."""
    try:
        runtime = onnx_runtime()
    except ImportError as error:
        raise MissingToolError(
            "calibrating: ONNX Runtime runs parts of the float network and is not installed. "
            "Run `pip install 'mdcompiler[reference]'`."
        ) from error
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

"""Running a float network and looking at tensors inside it.

ONNX Runtime runs the graph with the wanted tensors as its outputs; what they do not need is cut away first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.errors import MissingToolError
from mdcompiler.module import export
from mdcompiler.operators import attach_functions
from mdcompiler.telemetry import onnx_runtime

Arrays = dict[str, NDArray[Any]]


class Probe:
    """A network that gives the tensors `names` instead of its outputs."""

    def __init__(self, graph: gs.Graph, names: Sequence[str], exact: bool = False) -> None:
        """names: variables of `graph`, which is not changed. exact: no fusion and no reordering inside."""
        self.names = tuple(dict.fromkeys(names))
        self._session = open_session(cut(graph, self.names), exact)
        self._inputs = [item.name for item in self._session.get_inputs()]

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """The tensors by name for one sample; inputs that they do not depend on may be there."""
        feeds = {name: inputs[name] for name in self._inputs}
        return dict(zip(self.names, self._session.run(list(self.names), feeds), strict=True))


def cut(graph: gs.Graph, names: Sequence[str]) -> onnx.ModelProto:
    """The part of `graph` that makes the tensors `names`, which become its outputs."""
    part = graph.copy()
    tensors = part.tensors()
    part.outputs = [tensors[name] for name in names]
    part.cleanup(remove_unused_graph_inputs=True)
    return attach_functions(export(part))


def open_session(model: onnx.ModelProto, exact: bool = False) -> Any:
    """`model` in ONNX Runtime on this processor. exact: no fusion and no reordering inside."""
    runtime = _runtime()
    options = runtime.SessionOptions()
    level = runtime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_DISABLE_ALL if exact else level.ORT_ENABLE_ALL
    options.log_severity_level = 3
    # Threads that wait by spinning take the processor from whatever else runs here, Python included.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _runtime() -> Any:
    try:
        return onnx_runtime()
    except ImportError as error:
        raise MissingToolError(
            "calibrating: ONNX Runtime runs the float network and is not installed. "
            "Run `pip install 'mdcompiler[reference]'`."
        ) from error

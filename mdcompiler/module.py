"""`Module`: the one type that flows from spec to binary.

It holds the ONNX graph, the target and the passes that ran; there is no side table. What the toolkit
knows about a node travels on the node, in attributes whose names start with `mdc.`:

| attribute    | set by         | value |
|--------------|----------------|-------|
| `mdc.kernel` | fuse stage     | name of the fused kernel the node belongs to |
| `mdc.kind`   | mark-kernels   | kind of that kernel: conv, pointwise, depthwise … |
| `mdc.layout` | place stage    | layout of the node's outputs, e.g. `NCHW16c`; absent: plain row-major |
| `mdc.direct` | the check      | true: a kernel that sums its products as they are, with less rounding |

In a file these become node `metadata_props`, which the ONNX checker accepts and other tools pass by.
The `metadata` of the model (spec, labels, anchors' origin) becomes the model's own `metadata_props`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.names import unique
from mdcompiler.operators import IR_VERSION, attach_functions, detach_functions
from mdcompiler.target import Target

PREFIX = "mdc."


@dataclass
class Module:
    """A network on its way to a device.

    graph: the ONNX graph; batch and all shapes static, every tensor typed.
    target: the machine it is compiled for.
    metadata: facts about the model as text, kept in the ONNX file.
    history: names of the passes that changed the graph, in order.
    original: the model of the file it was read from, before any change: what the network means. None for a network
    that was built here, and for copies.
    """

    graph: gs.Graph
    target: Target
    metadata: dict[str, str] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)
    original: onnx.ModelProto | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_onnx(cls, model: onnx.ModelProto, target: Target) -> Module:
        """Take an ONNX model in, with the attributes an earlier `to_onnx` wrote."""
        plain = detach_functions(model)
        graph = gs.import_onnx(plain)
        for node, proto in zip(graph.nodes, plain.graph.node, strict=True):
            for entry in proto.metadata_props:
                if entry.key.startswith(PREFIX):
                    node.attrs[entry.key] = json.loads(entry.value)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        history = json.loads(metadata.pop("mdc.history", "[]"))
        return cls(graph, target, metadata, history)

    def to_onnx(self) -> onnx.ModelProto:
        """The graph as a complete ONNX model that any runtime can load."""
        model = export(self.graph)
        for key, value in sorted(self.metadata.items()):
            model.metadata_props.add(key=key, value=value)
        if self.history:
            model.metadata_props.add(key="mdc.history", value=json.dumps(self.history))
        return attach_functions(model)


def export(graph: gs.Graph) -> onnx.ModelProto:
    """`graph` as ONNX without functions; `mdc.` attributes become node metadata."""
    hidden = [_take_attributes(node) for node in graph.nodes]
    try:
        model: onnx.ModelProto = gs.export_onnx(graph)
    finally:
        for node, attributes in zip(graph.nodes, hidden, strict=True):
            node.attrs.update(attributes)
    for proto, attributes in zip(model.graph.node, hidden, strict=True):
        for key, value in sorted(attributes.items()):
            proto.metadata_props.add(key=key, value=json.dumps(value))
    model.ir_version = IR_VERSION
    return model


def _take_attributes(node: gs.Node) -> dict[str, object]:
    return {key: node.attrs.pop(key) for key in list(node.attrs) if key.startswith(PREFIX)}


def producers(graph: gs.Graph) -> dict[str, gs.Node]:
    """Tensor name -> the node that makes it."""
    return {tensor.name: node for node in graph.nodes for tensor in node.outputs}


def consumers(tensor: gs.Tensor) -> list[gs.Node]:
    """The nodes that read `tensor`, each once, in graph order."""
    return list({id(node): node for node in tensor.outputs}.values())


def only_consumer(graph: gs.Graph, tensor: gs.Tensor) -> gs.Node | None:
    """The single node that reads `tensor`, or None when it is shared, unread or a graph output."""
    if is_output(graph, tensor):
        return None
    readers = consumers(tensor)
    return readers[0] if len(readers) == 1 else None


def producer(tensor: gs.Tensor | None) -> gs.Node | None:
    """The node that makes `tensor`, or None for inputs and constants."""
    return tensor.inputs[0] if tensor is not None and tensor.inputs else None


def is_output(graph: gs.Graph, tensor: gs.Tensor) -> bool:
    """Whether `tensor` leaves the graph."""
    return any(tensor is output for output in graph.outputs)


def insert_before(graph: gs.Graph, node: gs.Node, new: Sequence[gs.Node]) -> None:
    """Put the nodes `new` right before `node` in the order of execution."""
    index = next(i for i, item in enumerate(graph.nodes) if item is node)
    graph.nodes[index:index] = list(new)


def replace_uses(graph: gs.Graph, old: gs.Tensor, new: gs.Tensor) -> None:
    """Let everything that reads `old` read `new`; a graph output keeps its name."""
    for node in consumers(old):
        node.inputs = [new if tensor is old else tensor for tensor in node.inputs]
    for index, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[index] = new
            old.name, new.name = new.name, old.name


def remove_nodes(graph: gs.Graph, nodes: Iterable[gs.Node]) -> None:
    """Take `nodes` out of the graph and unlink their tensors."""
    doomed = {id(node) for node in nodes}
    for node in graph.nodes:
        if id(node) in doomed:
            node.inputs = []
            node.outputs = []
    graph.nodes = [node for node in graph.nodes if id(node) not in doomed]


def replace_constant_nodes(graph: gs.Graph) -> int:
    """Turn `Constant` nodes into constants of the graph; how many there were.

    Those whose value leaves the graph stay, as an Identity of the constant.
    """
    found = [node for node in graph.nodes if node.op == "Constant" and not node.domain]
    taken = set(graph.tensors())
    gone = []
    for node in found:
        result, value = node.outputs[0], constant_value(node)
        if is_output(graph, result):
            name = unique(f"{result.name}/value", taken)
            taken.add(name)
            node.op, node.attrs, node.inputs = "Identity", {}, [gs.Constant(name, value)]
        else:
            replace_uses(graph, result, gs.Constant(result.name, value))
            gone.append(node)
    remove_nodes(graph, gone)
    return len(found)


def constant_value(node: gs.Node) -> NDArray[Any]:
    """The value of a `Constant` node, in whichever attribute it is spelled."""
    (key,) = (key for key in node.attrs if not key.startswith(PREFIX))
    value = node.attrs[key]
    if key == "value":
        return np.asarray(value.values)
    dtype = np.float32 if key in ("value_float", "value_floats") else np.int64
    return np.array(value, dtype=dtype)

"""Compute once what depends on no input, and drop what does nothing, with onnxsim.

onnxsim also tidies the graph: shapes that are known, transposes in a row, an Add after a convolution that
is its bias. It keeps node names and drops everything else we know about a node, so `mdc.` attributes are
put back by name; operators of the domain `mdc` travel as single nodes without their bodies. Rewrites that
merge two blocks' weights or that a pass of ours does under a proper name are switched off.

A constant that is an output of the network stays the result of an Identity: onnx-graphsurgeon loses it
otherwise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxsim

from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.module import PREFIX, Module, export, replace_constant_nodes
from mdcompiler.names import fresh_tensor, kernel_path, name_all, unique
from mdcompiler.onnx_evaluate import MAX_CONSTANT_MIB

_SWITCHED_OFF = (
    "eliminate_common_subexpression",
    "eliminate_duplicate_initializer",
    "fuse_bn_into_conv",
    "fuse_pad_into_conv",
    "fuse_pad_into_pool",
    "fuse_qkv",
)
_UNKNOWN_TO_ONNXSIM = (RuntimeError, ValueError, IndexError, onnx.checker.ValidationError)
"""It runs ONNX Runtime, which lacks kernels for valid ONNX; such a graph stays as it is and means the same."""
_ROLES = {1: "weight", 2: "bias"}


@dataclass(frozen=True)
class FoldConstants:
    """Fold constant expressions and remove operators without effect.

    limit_mib: the most memory that the results of constant expressions may take together; above it the
    graph is left as it is, because a few bytes of ONNX can ask for terabytes.
    """

    limit_mib: int = MAX_CONSTANT_MIB

    name: ClassVar[str] = "fold-constants"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ()

    def run(self, module: Module) -> int:
        if list(self.refusals(module)):
            return 0
        try:
            new = _simplified(module.graph)
        except _UNKNOWN_TO_ONNXSIM:
            return 0
        edits = _edits(module.graph, new)
        if edits:
            module.graph = new
        return edits

    def refusals(self, module: Module) -> list[Refusal]:
        total = 0
        for node in _constant_nodes(module.graph):
            total += sum(_bytes(tensor) for tensor in node.outputs)
            if total > self.limit_mib << 20:
                return [Refusal(node.name, f"its constant result makes {total >> 20} MiB; limit {self.limit_mib}")]
        return []


def _constant_nodes(graph: gs.Graph) -> Iterable[gs.Node]:
    """The nodes that depend on constants only, in order of execution."""
    known: set[str] = set()
    for node in graph.nodes:
        if all(isinstance(t, gs.Constant) or t.is_empty() or t.name in known for t in node.inputs):
            known.update(tensor.name for tensor in node.outputs)
            yield node


def _bytes(tensor: gs.Tensor) -> int:
    if tensor.is_empty() or tensor.dtype is None or tensor.shape is None:
        return 0
    elements: int = math.prod(tensor.shape)
    size: int = np.dtype(tensor.dtype).itemsize
    return elements * size


def _simplified(old: gs.Graph) -> gs.Graph:
    """A new graph with the meaning of `old`, constants folded."""
    model, _ = onnxsim.simplify(export(old), certify=False, skipped_optimizers=list(_SWITCHED_OFF))
    new = gs.import_onnx(_plain(model))
    new.producer_name, new.producer_version = old.producer_name, old.producer_version
    replace_constant_nodes(new)
    _keep_constant_outputs(new)
    _keep_types(old, new)
    name_all(new)
    _keep_attributes(old, new)
    _name_new_constants(old, new)
    return new


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` without the record that onnxsim leaves in its metadata."""
    del model.metadata_props[:]
    return model


def _keep_constant_outputs(graph: gs.Graph) -> None:
    for index, output in enumerate(graph.outputs):
        if isinstance(output, gs.Constant):
            result = gs.Variable(output.name, dtype=output.dtype, shape=list(output.shape))
            output.name = unique(f"{output.name}/value", [*graph.tensors(), output.name])
            name = unique(f"{result.name}/constant", [node.name for node in graph.nodes])
            graph.nodes.append(gs.Node("Identity", name, inputs=[output], outputs=[result]))
            graph.outputs[index] = result


def _keep_types(old: gs.Graph, new: gs.Graph) -> None:
    """Types of tensors that onnxsim cannot infer: the outputs of `mdc` operators."""
    known = old.tensors()
    for name, tensor in new.tensors().items():
        if isinstance(tensor, gs.Variable) and name in known:
            tensor.dtype = known[name].dtype if tensor.dtype is None else tensor.dtype
            tensor.shape = known[name].shape if tensor.shape is None else tensor.shape


def _keep_attributes(old: gs.Graph, new: gs.Graph) -> None:
    known = {node.name: node for node in old.nodes}
    for node in new.nodes:
        if node.name in known:
            extra = {key: value for key, value in known[node.name].attrs.items() if key.startswith(PREFIX)}
            node.attrs.update(extra)


def _name_new_constants(old: gs.Graph, new: gs.Graph) -> None:
    """Call a folded constant after its first reader instead of `_v_27`."""
    known = old.tensors()
    for node in new.nodes:
        for index, tensor in enumerate(node.inputs):
            if isinstance(tensor, gs.Constant) and tensor.name not in known:
                tensor.name = fresh_tensor(new, _constant_name(node, index))


def _constant_name(node: gs.Node, index: int) -> str:
    if node.op == "Conv" and index in _ROLES:
        return f"{kernel_path(node.name)}/{_ROLES[index]}"
    return f"{node.name}/constant{index}"


def _edits(old: gs.Graph, new: gs.Graph) -> int:
    """How many nodes were removed, added or changed."""
    before, after = _signatures(old), _signatures(new)
    return sum(before.get(name) != after.get(name) for name in before.keys() | after.keys())


def _signatures(graph: gs.Graph) -> dict[str, object]:
    return {node.name: _signature(node) for node in graph.nodes}


def _signature(node: gs.Node) -> object:
    attributes = sorted((key, repr(value)) for key, value in node.attrs.items())
    inputs = [(tensor.name, _digest(tensor)) for tensor in node.inputs]
    outputs = [(tensor.name, str(tensor.shape)) for tensor in node.outputs]
    return node.op, node.domain or "", attributes, inputs, outputs


def _digest(tensor: gs.Tensor) -> str:
    """A fingerprint of a constant's type and values; empty for other tensors."""
    if not isinstance(tensor, gs.Constant):
        return ""
    values = tensor.values
    content = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    return f"{values.dtype}{list(values.shape)}{content}"

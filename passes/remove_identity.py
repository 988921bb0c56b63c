"""Remove nodes that hand their input on unchanged.

1. Identity
2. Dropout in inference
3. Cast to the type the tensor has
4. Reshape to the shape the tensor has
5. Transpose that moves no axis
6. Pad by nothing
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.constants import integers, optional_input, scalar
from mdcompiler.module import Module, consumers, is_output, remove_nodes, replace_uses


@dataclass(frozen=True)
class RemoveIdentity:
    """Remove operators without effect."""

    name: ClassVar[str] = "remove-identity"
    stage: ClassVar[Stage] = "simplify"
    after: ClassVar[tuple[str, ...]] = ()

    def run(self, module: Module) -> int:
        graph = module.graph
        found = [node for node in graph.nodes if does_nothing(node)]
        return sum(_remove(graph, node) for node in found)

    def refusals(self, module: Module) -> list[Refusal]:
        found = [node for node in module.graph.nodes if does_nothing(node)]
        return [Refusal(node.name, reason) for node in found if (reason := _why_not(module.graph, node))]


def _remove(graph: gs.Graph, node: gs.Node) -> bool:
    if _why_not(graph, node):
        return False
    source, result = node.inputs[0], node.outputs[0]
    remove_nodes(graph, [node])
    replace_uses(graph, result, source)
    return True


def _why_not(graph: gs.Graph, node: gs.Node) -> str | None:
    if any(consumers(extra) or is_output(graph, extra) for extra in node.outputs[1:]):
        return f"its second output {node.outputs[1].name} is read"
    if not is_output(graph, node.outputs[0]):
        return None
    if not node.inputs[0].inputs:
        return "it hands an input or a constant to an output of the network, which needs a node"
    if is_output(graph, node.inputs[0]):
        return "it makes one value two outputs of the network, which needs a node"
    return None


def does_nothing(node: gs.Node) -> bool:
    """Whether the first output of `node` always equals its first input."""
    rule = _RULES.get(node.op)
    return rule is not None and not node.domain and rule(node)


def _always(node: gs.Node) -> bool:
    return True


def _dropout(node: gs.Node) -> bool:
    training = optional_input(node, 2)
    return training is None or scalar(training) == 0


def _same_type(node: gs.Node) -> bool:
    return node.inputs[0].dtype is not None and bool(node.inputs[0].dtype == node.outputs[0].dtype)


def _same_shape(node: gs.Node) -> bool:
    before, after = node.inputs[0].shape, node.outputs[0].shape
    return before is not None and after is not None and list(before) == list(after)


def _no_axis_moves(node: gs.Node) -> bool:
    perm = node.attrs.get("perm")
    return perm is not None and list(perm) == sorted(perm)


def _no_padding(node: gs.Node) -> bool:
    pads = integers(optional_input(node, 1))
    return pads is not None and not any(pads)


_RULES: dict[str, Callable[[gs.Node], bool]] = {
    "Identity": _always,
    "Dropout": _dropout,
    "Cast": _same_type,
    "Reshape": _same_shape,
    "Transpose": _no_axis_moves,
    "Pad": _no_padding,
}

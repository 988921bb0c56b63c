"""Let a convolution's kernel add the residual, and apply the activation after the sum.

    1. conv -> Add(x)                 linear bottlenecks (MobileNetV2, MobileDet)
    2. conv -> Add(x) -> activation   ResNet
    3. conv -> activation -> Add(x)   CSP and YOLO bottlenecks; no second activation joins

When both operands come from convolutions the later one takes the sum, so that the other operand is there
when it runs. A kernel adds once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.activation import activation_after
from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.fusion import Finding, Join, apply, leak, refusals
from mdcompiler.kernel import kernel_name
from mdcompiler.module import Module, producer
from mdcompiler.names import kernel_names


@dataclass(frozen=True)
class FuseResidual:
    """Join residual sums to the convolution before them."""

    name: ClassVar[str] = "fuse-residual"
    stage: ClassVar[Stage] = "fuse"
    after: ClassVar[tuple[str, ...]] = ("fuse-activation",)

    def run(self, module: Module) -> int:
        return apply(_findings(module.graph))

    def refusals(self, module: Module) -> list[Refusal]:
        return refusals(_findings(module.graph))


def _findings(graph: gs.Graph) -> Iterator[Finding]:
    names = kernel_names(graph)
    rank = {id(node): index for index, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        if node.op == "Add" and all(isinstance(tensor, gs.Variable) for tensor in node.inputs):
            yield _finding(graph, node, names, rank)


def _finding(graph: gs.Graph, add: gs.Node, names: dict[str, str], rank: dict[int, int]) -> Finding:
    """The join with the latest convolution that can take `add`, or why none can."""
    chains = [chain for tensor in add.inputs if (chain := _chain(tensor, names))]
    if not chains:
        return Refusal(add.name, "neither operand is made by a convolution")
    chains.sort(key=lambda chain: rank[id(chain[-1])], reverse=True)
    reasons = []
    for chain in chains:
        nodes = _with_sum(chain, add)
        reason = _why_not(graph, nodes, add)
        if reason is None:
            return Join(names[chain[0].name], nodes)
        reasons.append(f"{names[chain[0].name]}: {reason}")
    return Refusal(add.name, "; ".join(reasons))


def _chain(tensor: gs.Variable, names: dict[str, str]) -> tuple[gs.Node, ...]:
    """The convolution and the nodes of its kernel up to the one that makes `tensor`; empty if there is none."""
    node = producer(tensor)
    chain: list[gs.Node] = []
    while node is not None and (not chain or kernel_name(node) == kernel_name(chain[0])):
        chain.insert(0, node)
        if node.op == "Conv":
            own = kernel_name(node) in (node.name, names[node.name])
            return tuple(chain) if own else ()
        node = producer(node.inputs[0])
    return ()


def _with_sum(chain: tuple[gs.Node, ...], add: gs.Node) -> tuple[gs.Node, ...]:
    activation = activation_after(add.outputs[0]) if len(chain) == 1 else None
    return (*chain, add, *(activation.nodes if activation else ()))


def _why_not(graph: gs.Graph, nodes: tuple[gs.Node, ...], add: gs.Node) -> str | None:
    left, right = add.inputs
    if left is right:
        return "both operands of the sum are the same tensor"
    if list(left.shape) != list(right.shape):
        return f"the operands have shapes {list(left.shape)} and {list(right.shape)}; a kernel adds equal shapes"
    if sum(node.op == "Add" for node in nodes) > 1:
        return "its kernel adds a residual already"
    return leak(graph, nodes)

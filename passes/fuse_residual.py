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
    chains = [chain for tensor in add.inputs if (chain := _chain(tensor, names, rank))]
    if not chains:
        return Refusal(add.name, "neither operand is made by a convolution")
    chains.sort(key=lambda chain: rank[id(chain[-1])], reverse=True)
    reasons = []
    for chain in chains:
        nodes = _with_sum(chain, add)
        reason = _why_not(graph, nodes, add)
        if reason is None:
            return Join(names[_anchor(chain).name], nodes)
        reasons.append(f"{names[_anchor(chain).name]}: {reason}")
    return Refusal(add.name, "; ".join(reasons))


def _chain(tensor: gs.Variable, names: dict[str, str], rank: dict[int, int]) -> tuple[gs.Node, ...]:
    """The nodes of a convolution's kernel up to the one that makes `tensor`, in order; empty if there is none."""
    last = producer(tensor)
    found: dict[int, gs.Node] = {}
    waiting = [last] if last is not None else []
    while waiting:
        node = waiting.pop()
        if id(node) not in found and kernel_name(node) == kernel_name(last):
            found[id(node)] = node
            waiting.extend(before for source in node.inputs if (before := producer(source)) is not None)
    chain = tuple(sorted(found.values(), key=lambda node: rank[id(node)]))
    return chain if any(_leads(node, names) for node in chain) else ()


def _leads(node: gs.Node, names: dict[str, str]) -> bool:
    """Whether `node` is a convolution in the kernel that it leads, and not one inside a squeeze-excite block."""
    return bool(node.op == "Conv" and kernel_name(node) in (node.name, names[node.name]))


def _anchor(chain: tuple[gs.Node, ...]) -> gs.Node:
    return next(node for node in chain if node.op == "Conv")


def _with_sum(chain: tuple[gs.Node, ...], add: gs.Node) -> tuple[gs.Node, ...]:
    activation = activation_after(add.outputs[0]) if chain[-1].op == "Conv" else None
    return (*chain, add, *(activation.nodes if activation else ()))


def _why_not(graph: gs.Graph, nodes: tuple[gs.Node, ...], add: gs.Node) -> str | None:
    left, right = add.inputs
    if left is right:
        return "both operands of the sum are the same tensor"
    if list(left.shape) != list(right.shape):
        return f"the operands have shapes {list(left.shape)} and {list(right.shape)}; a kernel adds equal shapes"
    conv = next(index for index, node in enumerate(nodes) if node.op == "Conv")
    if sum(node.op == "Add" for node in nodes[conv:]) > 1:
        return "its kernel adds a residual already"
    return leak(graph, nodes)

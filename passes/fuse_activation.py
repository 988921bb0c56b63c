"""Let a convolution's kernel apply the activation that follows it.

    1. conv -> Relu | Clip | HardSwish | HardSigmoid | Sigmoid
    2. conv -> Sigmoid -> Mul (swish: both nodes)

The tensor between is then never written to memory. It must have no other reader. Activations after a
residual sum are fuse-residual's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.activation import SINGLE, activation_after
from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.fusion import Finding, Join, apply, leak, refusals
from mdcompiler.kernel import kernel_name
from mdcompiler.module import Module, consumers
from mdcompiler.names import kernel_names


@dataclass(frozen=True)
class FuseActivation:
    """Join activations to the convolution before them."""

    name: ClassVar[str] = "fuse-activation"
    stage: ClassVar[Stage] = "fuse"
    after: ClassVar[tuple[str, ...]] = ("fuse-squeeze-excite",)

    def run(self, module: Module) -> int:
        return apply(_findings(module.graph))

    def refusals(self, module: Module) -> list[Refusal]:
        return refusals(_findings(module.graph))


def _findings(graph: gs.Graph) -> Iterator[Finding]:
    names = kernel_names(graph)
    for node in graph.nodes:
        if node.op == "Conv" and kernel_name(node) in (node.name, names[node.name]):
            yield from _finding(graph, node, names[node.name])


def _finding(graph: gs.Graph, conv: gs.Node, name: str) -> Iterator[Finding]:
    activation = activation_after(conv.outputs[0])
    if activation is None:
        yield from _near_misses(conv)
        return
    nodes = (conv, *activation.nodes)
    reason = leak(graph, nodes)
    yield Refusal(activation.nodes[0].name, reason) if reason else Join(name, nodes)


def _near_misses(conv: gs.Node) -> Iterator[Refusal]:
    readers = consumers(conv.outputs[0])
    for node in readers:
        if node.op not in SINGLE:
            continue
        if len(readers) > 1:
            others = ", ".join(reader.name for reader in readers if reader is not node)
            yield Refusal(node.name, f"its operand {conv.outputs[0].name} is also read by {others}")
        else:
            yield Refusal(node.name, "its bounds are not constant")

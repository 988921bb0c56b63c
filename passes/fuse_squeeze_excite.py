"""Make one kernel of a squeeze-excite block.

    x -> GlobalAveragePool -> Conv 1x1 -> activation -> Conv 1x1 -> Sigmoid | HardSigmoid -> Mul(x)

becomes the kernel `<block>/se`: x in, x times gate out. Its inner values are vectors of one value a
channel, so that it costs two walks over x. Other nodes may read x, none may read an inner value.
Squeeze-and-Excitation Networks, Hu et al., CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.activation import activation_after
from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.fusion import Finding, Join, apply, leak, refusals
from mdcompiler.module import Module, consumers, only_consumer
from mdcompiler.names import kernel_names

_GATES = ("sigmoid", "hard_sigmoid")


@dataclass(frozen=True)
class FuseSqueezeExcite:
    """Join the nodes of squeeze-excite blocks."""

    name: ClassVar[str] = "fuse-squeeze-excite"
    stage: ClassVar[Stage] = "fuse"
    after: ClassVar[tuple[str, ...]] = ("fuse-preprocessing",)

    def run(self, module: Module) -> int:
        return apply(_findings(module.graph))

    def refusals(self, module: Module) -> list[Refusal]:
        return refusals(_findings(module.graph))


def _findings(graph: gs.Graph) -> Iterator[Finding]:
    names = kernel_names(graph)
    for pool in graph.nodes:
        squeeze = _squeeze(graph, pool) if pool.op == "GlobalAveragePool" else ()
        if squeeze:
            yield _finding(graph, squeeze, names[pool.name])


def _squeeze(graph: gs.Graph, pool: gs.Node) -> tuple[gs.Node, ...]:
    """Pool, convolution, activation, convolution: what makes a pooling look like a squeeze; else nothing."""
    reduce = only_consumer(graph, pool.outputs[0])
    if reduce is None or reduce.op != "Conv":
        return ()
    activation = activation_after(reduce.outputs[0])
    expand = only_consumer(graph, activation.output) if activation else None
    if activation is None or expand is None or expand.op != "Conv":
        return ()
    return (pool, reduce, *activation.nodes, expand)


def _finding(graph: gs.Graph, squeeze: tuple[gs.Node, ...], name: str) -> Finding:
    pool, expand = squeeze[0], squeeze[-1]
    gate = activation_after(expand.outputs[0])
    if gate is None or gate.kind not in _GATES:
        return Refusal(pool.name, f"{expand.name} is not followed by a gate (Sigmoid or HardSigmoid) alone")
    product = next(iter(consumers(gate.output)), None)
    if product is None or product.op != "Mul" or all(tensor is not pool.inputs[0] for tensor in product.inputs):
        return Refusal(pool.name, f"the gate {gate.nodes[0].name} does not multiply the tensor that is pooled")
    nodes = (*squeeze, *gate.nodes, product)
    reason = _large_kernel(squeeze) or leak(graph, nodes)
    return Refusal(pool.name, reason) if reason else Join(name, nodes)


def _large_kernel(squeeze: tuple[gs.Node, ...]) -> str | None:
    for node in squeeze:
        if node.op == "Conv" and list(node.inputs[1].shape[2:]) != [1, 1]:
            return f"{node.name} has a kernel of {list(node.inputs[1].shape[2:])}; squeeze and excite are 1x1"
    return None

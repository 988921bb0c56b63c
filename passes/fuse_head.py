"""Let a prediction convolution write rows of the detector's output.

    conv (no activation) -> Transpose(0,2,3,1) -> Reshape

becomes one kernel that writes NHWC, so that a backend can place its result straight into the buffer of
the concatenation over all levels. The order level, row, column, anchor of SSD needs NHWC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.fusion import Finding, Join, apply, leak, refusals
from mdcompiler.kernel import kernel_name
from mdcompiler.module import Module, only_consumer, producer
from mdcompiler.names import kernel_names


@dataclass(frozen=True)
class FuseHead:
    """Join transpose and reshape to the prediction convolution before them."""

    name: ClassVar[str] = "fuse-head"
    stage: ClassVar[Stage] = "fuse"
    after: ClassVar[tuple[str, ...]] = ("fuse-residual",)

    def run(self, module: Module) -> int:
        return apply(_findings(module.graph))

    def refusals(self, module: Module) -> list[Refusal]:
        return refusals(_findings(module.graph))


def _findings(graph: gs.Graph) -> Iterator[Finding]:
    names = kernel_names(graph)
    for transpose in graph.nodes:
        reshape = only_consumer(graph, transpose.outputs[0]) if transpose.op == "Transpose" else None
        if reshape is None or reshape.op != "Reshape":
            continue
        conv = producer(transpose.inputs[0])
        if conv is not None and "Conv" in _ops(graph, conv):
            yield _finding(graph, (conv, transpose, reshape), names)


def _ops(graph: gs.Graph, node: gs.Node) -> set[str]:
    """The operators of the kernel that `node` belongs to."""
    return {item.op for item in graph.nodes if kernel_name(item) == kernel_name(node)}


def _finding(graph: gs.Graph, nodes: tuple[gs.Node, gs.Node, gs.Node], names: dict[str, str]) -> Finding:
    conv, transpose, reshape = nodes
    reason = _why_not(graph, conv, transpose, reshape)
    return Refusal(transpose.name, reason) if reason else Join(names[conv.name], nodes)


def _why_not(graph: gs.Graph, conv: gs.Node, transpose: gs.Node, reshape: gs.Node) -> str | None:
    if conv.op != "Conv":
        return f"{conv.name} stands between the convolution and the transpose; a head's convolution is linear"
    if transpose.attrs.get("perm") != [0, 2, 3, 1]:
        return f"the transpose is {transpose.attrs.get('perm')}; NCHW to NHWC is [0, 2, 3, 1]"
    if int(conv.attrs.get("group", 1)) != 1:
        return f"{conv.name} has {conv.attrs['group']} groups; a head's convolution reads every channel"
    if not isinstance(reshape.inputs[1], gs.Constant):
        return f"the shape of {reshape.name} is not constant"
    return leak(graph, (conv, transpose, reshape))

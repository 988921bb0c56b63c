"""Joining nodes into one kernel, and saying why not: what all fuse passes share.

A fuse pass yields findings: a `Join` for nodes that become one kernel, a `Refusal` for a place that looks
like its pattern and is none. Joining never changes the graph, only the attribute `mdc.kernel`.

No join may make two kernels wait for one another. It cannot as long as a kernel has a single exit: when
only the last node of a kernel is read outside, whatever depends on the kernel depends on that node, and a
path back into the kernel would be a loop in the graph itself. `leak` checks it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Refusal
from mdcompiler.kernel import KERNEL
from mdcompiler.module import consumers, is_output


@dataclass(frozen=True)
class Join:
    """Nodes, in order of execution, that become the kernel called `name`."""

    name: str
    nodes: tuple[gs.Node, ...]


Finding = Join | Refusal


def apply(findings: Iterable[Finding]) -> int:
    """Carry out every Join as it comes; the number of nodes whose kernel changed."""
    return sum(_assign(finding) for finding in findings if isinstance(finding, Join))


def refusals(findings: Iterable[Finding]) -> list[Refusal]:
    """The refusals among `findings`."""
    return [finding for finding in findings if isinstance(finding, Refusal)]


def _assign(join: Join) -> int:
    changed = [node for node in join.nodes if node.attrs.get(KERNEL) != join.name]
    for node in changed:
        node.attrs[KERNEL] = join.name
    return len(changed)


def leak(graph: gs.Graph, nodes: Iterable[gs.Node]) -> str | None:
    """Why `nodes` have more exits than their last node, or None when they have one."""
    group = list(nodes)
    members = {id(node) for node in group}
    for node in group[:-1]:
        for tensor in node.outputs:
            if is_output(graph, tensor):
                return f"its inner value {tensor.name} is an output of the network"
            outside = [reader.name for reader in consumers(tensor) if id(reader) not in members]
            if outside:
                return f"its inner value {tensor.name} is also read by {outside[0]}"
    return None

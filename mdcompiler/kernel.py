"""Kernels: the fused groups of nodes that a backend compiles one by one.

A kernel is not an object of its own in the graph: it is all nodes that carry the same `mdc.kernel`
attribute. `kernels(graph)` reads them off, in an order in which they can run.
"""

from __future__ import annotations

from dataclasses import dataclass

import networkx as nx
import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.errors import InternalError
from mdcompiler.names import block_of

KERNEL = "mdc.kernel"
KIND = "mdc.kind"
LAYOUT = "mdc.layout"
DIRECT = "mdc.direct"
"""Set on a node whose kernel may not save products at the price of rounding."""


@dataclass(frozen=True)
class Kernel:
    """One fused group.

    name: e.g. `C4/b2.ibn/expand`; kind: e.g. `pointwise`; nodes: in order of execution.
    inputs: tensors from outside, constants left out; outputs: tensors read outside.
    """

    name: str
    kind: str
    nodes: tuple[gs.Node, ...]
    inputs: tuple[gs.Variable, ...]
    outputs: tuple[gs.Variable, ...]

    @property
    def block(self) -> str:
        return block_of(self.name)

    @property
    def layout(self) -> str:
        """Layout of the outputs; "" is plain row-major."""
        return str(self.nodes[-1].attrs.get(LAYOUT, ""))

    @property
    def is_direct(self) -> bool:
        """Whether it must sum its products as they are."""
        return any(node.attrs.get(DIRECT) for node in self.nodes)

    def find(self, *ops: str) -> gs.Node | None:
        """The first node whose operator is one of `ops`."""
        return next((node for node in self.nodes if node.op in ops), None)

    @property
    def macs(self) -> int:
        """Multiply-adds of the convolutions and matrix products in this kernel."""
        return sum(node_macs(node) for node in self.nodes)


def kernel_name(node: gs.Node) -> str:
    """The kernel a node belongs to; before fusion, itself."""
    return str(node.attrs.get(KERNEL, node.name))


def kernels(graph: gs.Graph) -> list[Kernel]:
    """All kernels of `graph`, each after the kernels it reads from.

    Raises InternalError when a group cannot run as one because it waits for itself.
    """
    groups: dict[str, list[gs.Node]] = {}
    for node in graph.nodes:
        groups.setdefault(kernel_name(node), []).append(node)
    order = _execution_order(graph, groups)
    read_outside = _read_outside(graph)
    return [_kernel(name, groups[name], read_outside) for name in order]


def _execution_order(graph: gs.Graph, groups: dict[str, list[gs.Node]]) -> list[str]:
    maker = {tensor.name: kernel_name(node) for node in graph.nodes for tensor in node.outputs}
    rank = {name: index for index, name in enumerate(groups)}
    edges: nx.DiGraph[str] = nx.DiGraph()
    edges.add_nodes_from(groups)
    for name, nodes in groups.items():
        for tensor in (t for node in nodes for t in node.inputs):
            source = maker.get(tensor.name, name)
            if source != name:
                edges.add_edge(source, name)
    try:
        return list(nx.lexicographical_topological_sort(edges, key=rank.__getitem__))
    except nx.NetworkXUnfeasible as error:
        loop = " -> ".join(edge[0] for edge in nx.find_cycle(edges))
        raise InternalError(f"these kernels wait for one another: {loop}") from error


def _read_outside(graph: gs.Graph) -> set[str]:
    """Names of tensors that a kernel other than their own reads, or that leave the graph."""
    maker = {tensor.name: kernel_name(node) for node in graph.nodes for tensor in node.outputs}
    outside = {tensor.name for tensor in graph.outputs}
    for node in graph.nodes:
        own = kernel_name(node)
        outside.update(t.name for t in node.inputs if maker.get(t.name, own) != own)
    return outside


def _kernel(name: str, nodes: list[gs.Node], read_outside: set[str]) -> Kernel:
    made = {tensor.name for node in nodes for tensor in node.outputs}
    inputs = {
        tensor.name: tensor
        for node in nodes
        for tensor in node.inputs
        if isinstance(tensor, gs.Variable) and not tensor.is_empty() and tensor.name not in made
    }
    outputs = [t for node in nodes for t in node.outputs if t.name in read_outside]
    kind = str(nodes[0].attrs.get(KIND, "generic"))
    return Kernel(name, kind, tuple(nodes), tuple(inputs.values()), tuple(outputs))


def node_macs(node: gs.Node) -> int:
    """Multiply-adds of a Conv, Gemm or MatMul node; 0 for every other operator."""
    if node.op == "Conv":
        weight = node.inputs[1].shape
        return int(np.prod(node.outputs[0].shape)) * int(np.prod(weight[1:]))
    if node.op in ("Gemm", "MatMul"):
        axis = 0 if node.attrs.get("transA") else -1
        return int(np.prod(node.outputs[0].shape)) * int(node.inputs[0].shape[axis])
    return 0

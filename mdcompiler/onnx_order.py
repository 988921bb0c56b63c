"""Nodes of an ONNX graph in an order in which they can run; loops are refused."""

from __future__ import annotations

import networkx as nx
import onnx

from mdcompiler.errors import ModelError


def sort_nodes(model: onnx.ModelProto) -> None:
    """Sort the nodes of `model` in place, keeping the given order where it is one.

    Raises ModelError for a loop, and for a tensor that two nodes make.
    """
    nodes = list(model.graph.node)
    maker = _makers(model)
    edges: nx.DiGraph[int] = nx.DiGraph()
    edges.add_nodes_from(range(len(nodes)))
    for index, node in enumerate(nodes):
        edges.add_edges_from((maker[name], index) for name in node.input if name in maker)
    if all(before < after for before, after in edges.edges):
        return
    try:
        order = list(nx.lexicographical_topological_sort(edges))
    except nx.NetworkXUnfeasible as error:
        loop = " -> ".join(_label(nodes[edge[0]]) for edge in nx.find_cycle(edges))
        raise ModelError(
            f"the model has a loop: {loop} -> … A network computes its output in one go; export it without the loop."
        ) from error
    del model.graph.node[:]
    model.graph.node.extend(nodes[index] for index in order)


def _makers(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor name -> index of the node that makes it."""
    maker: dict[str, int] = {}
    given = {value.name for value in model.graph.input} | {value.name for value in model.graph.initializer}
    for index, node in enumerate(model.graph.node):
        for name in filter(None, node.output):
            if name in maker or name in given:
                raise ModelError(f"tensor {name!r} is made twice, once by {_label(node)}. Export the model again.")
            maker[name] = index
    return maker


def _label(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type}({', '.join(node.output)})"

"""Nodes of an ONNX graph in an order in which they can run; loops are refused."""

from __future__ import annotations

import networkx as nx
import onnx

from mdcompiler.errors import ModelError
from mdcompiler.onnx_graph import reads


def sort_nodes(model: onnx.ModelProto) -> None:
    """Sort the nodes of `model` in place, keeping the given order where it is one.

    Raises ModelError for a loop, and for a tensor that two nodes make or none.
    """
    nodes = list(model.graph.node)
    maker = _makers(model)
    _check_sources(model, maker)
    edges: nx.DiGraph[int] = nx.DiGraph()
    edges.add_nodes_from(range(len(nodes)))
    for index, node in enumerate(nodes):
        edges.add_edges_from((maker[name], index) for name in reads(node) if name in maker)
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


def _given(model: onnx.ModelProto) -> set[str]:
    return {value.name for value in model.graph.input} | {value.name for value in model.graph.initializer}


def _check_sources(model: onnx.ModelProto, maker: dict[str, int]) -> None:
    known = _given(model) | maker.keys()
    for node in model.graph.node:
        missing = next((name for name in sorted(reads(node)) if name not in known), None)
        if missing is not None:
            raise ModelError(
                f"node {node.name!r} ({node.op_type}) reads {missing!r}, which nothing makes. Export the model again."
            )
    for output in model.graph.output:
        if output.name not in known:
            raise ModelError(f"output {output.name!r} is made by no node. Export the model again.")


def _makers(model: onnx.ModelProto) -> dict[str, int]:
    """Tensor name -> index of the node that makes it."""
    maker: dict[str, int] = {}
    given = _given(model)
    for index, node in enumerate(model.graph.node):
        for name in filter(None, node.output):
            if name in maker or name in given:
                raise ModelError(f"tensor {name!r} is made twice, once by {_label(node)}. Export the model again.")
            maker[name] = index
    return maker


def _label(node: onnx.NodeProto) -> str:
    return node.name or f"{node.op_type}({', '.join(node.output)})"

"""The one place where names of nodes, tensors and blocks are made and read.

A node is named by its path in the network, `C4/b2.ibn/expand/conv`, from the first moment to the last
report. Its kernel is the path without the last part (`C4/b2.ibn/expand`), its block the first two
parts (`C4/b2.ibn`). Models that come as ONNX files keep the names they have; a node that has none gets
one here. Nothing else may invent a name, so that no name is ever given twice.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Set

import onnx_graphsurgeon as gs

LEADERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "GlobalAveragePool"})
"""Operators whose path names the kernel they are in."""

_NOT_IDENTIFIER = re.compile(r"[^0-9A-Za-z_]")


def block_of(name: str) -> str:
    """The block that a node or kernel belongs to.

    >>> block_of("C4/b2.ibn/expand/conv")
    'C4/b2.ibn'
    >>> block_of("Conv_117")
    'Conv_117'
    """
    return "/".join(name.strip("/").split("/")[:2])


def kernel_path(node_name: str) -> str:
    """The kernel that a node starts as: its path without the last part.

    >>> kernel_path("C4/b2.ibn/expand/conv")
    'C4/b2.ibn/expand'
    >>> kernel_path("Conv_117")
    'Conv_117'
    """
    head, _, _ = node_name.rpartition("/")
    return head or node_name


def identifier(name: str) -> str:
    """`name` as a C identifier. Different names may meet: see `unique`.

    >>> identifier("C4/b2.ibn/expand")
    'C4_b2_ibn_expand'
    """
    spelled = _NOT_IDENTIFIER.sub("_", name)
    return f"_{spelled}" if spelled[:1].isdigit() else spelled


def unique(wanted: str, taken: Iterable[str]) -> str:
    """`wanted`, or `wanted.2`, `wanted.3` … when it is taken."""
    used = taken if isinstance(taken, Set) else set(taken)
    name, count = wanted, 1
    while name in used:
        count += 1
        name = f"{wanted}.{count}"
    return name


def fresh_tensor(graph: gs.Graph, wanted: str) -> str:
    """A tensor name that no tensor of `graph` has."""
    return unique(wanted, tensor_names(graph))


def tensor_names(graph: gs.Graph) -> set[str]:
    """The names of all tensors of `graph`, inputs and outputs of the network included."""
    # graph.tensors() tells the same three times slower, and passes ask often
    names = {tensor.name for node in graph.nodes for side in (node.inputs, node.outputs) for tensor in side}
    return names | {tensor.name for side in (graph.inputs, graph.outputs) for tensor in side}


def fresh_node(graph: gs.Graph, wanted: str) -> str:
    """A node name that no node of `graph` has."""
    return unique(wanted, (node.name for node in graph.nodes))


def name_all(graph: gs.Graph) -> int:
    """Give every unnamed or doubly named node of `graph` a name of its own; the number of names given."""
    taken = {node.name for node in graph.nodes}
    kept: set[str] = set()
    given = 0
    for index, node in enumerate(graph.nodes):
        if node.name and node.name not in kept:
            kept.add(node.name)
            continue
        # the index makes the first try succeed, however many nodes share a name
        node.name = unique(f"{node.name or node.op}_{index}", taken)
        taken.add(node.name)
        kept.add(node.name)
        given += 1
    return given


def kernel_names(graph: gs.Graph) -> dict[str, str]:
    """Node name -> name of the kernel that the node would lead.

    A convolution, pooling or matrix product leads the kernel of its path (`C4/b2.ibn/expand/conv` leads
    `C4/b2.ibn/expand`) unless another such node or a node's own name claims that path; every other
    node leads a kernel called like itself.
    """
    leaders = [node.name for node in graph.nodes if node.op in LEADERS]
    claims = Counter(kernel_path(name) for name in leaders)
    taken = {node.name for node in graph.nodes}
    names = {name: name for name in taken}
    for name in leaders:
        path = kernel_path(name)
        if claims[path] == 1 and path not in taken:
            names[name] = path
    return names

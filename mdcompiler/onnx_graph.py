"""Reading plain ONNX graphs: what a node reads, nested graphs included, and what of a graph is needed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import onnx
from onnx import helper

from mdcompiler.names import unique


def nested_graphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside `node` (branches of If, bodies of Loop and Scan)."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of `graph` and of the graphs inside them."""
    for node in graph.node:
        yield node
        for inner in nested_graphs(node):
            yield from all_nodes(inner)


def reads(node: onnx.NodeProto) -> set[str]:
    """The tensors that `node` needs: its inputs, and what its nested graphs take from around them."""
    names = {name for name in node.input if name}
    for graph in nested_graphs(node):
        names |= _taken_from_outside(graph)
    return names


def _taken_from_outside(graph: onnx.GraphProto) -> set[str]:
    made = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    wanted = {value.name for value in graph.output}
    for node in graph.node:
        wanted |= reads(node)
        made.update(node.output)
    return wanted - made


def needed_nodes(nodes: Iterable[onnx.NodeProto], outputs: Iterable[str]) -> list[onnx.NodeProto]:
    """Those of `nodes`, in order of execution, that one of the tensors `outputs` depends on."""
    wanted = set(outputs)
    kept = []
    for node in reversed(list(nodes)):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= reads(node)
    return kept[::-1]


def drop_unneeded(graph: onnx.GraphProto) -> None:
    """Remove nodes and weights of `graph` that no output depends on, in place. Its nodes are in order."""
    kept = needed_nodes(graph.node, (value.name for value in graph.output))
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)
    wanted = {value.name for value in graph.output}.union(*map(reads, kept))
    stated = {value.name for value in graph.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted or tensor.name in stated]
    if len(weights) < len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(weights)


OUTPUTS = "mdc.outputs"
"""Metadata: output -> what the file calls it, where that name is an input's."""


def hand_inputs_out(model: onnx.ModelProto) -> None:
    """Copy an input that is an output to an output with a name of its own, in place; `OUTPUTS` tells its old one."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    given = {value.name: value for value in graph.input if value.name not in weights}
    through = [value for value in graph.output if value.name in given]
    if not through:
        return
    taken = {name for node in all_nodes(graph) for name in (*node.input, *node.output)}
    taken |= {value.name for value in (*graph.input, *graph.output)} | weights
    notes = [entry for entry in model.metadata_props if entry.key == OUTPUTS]  # of a graph that was written before
    renamed = {key: name for entry in notes for key, name in json.loads(entry.value).items()}
    for entry in notes:
        model.metadata_props.remove(entry)
    for value in through:
        name = unique(f"{value.name}/out", taken)
        taken.add(name)
        renamed[name] = value.name
        graph.node.append(helper.make_node("Identity", [value.name], [name]))
        value.type.CopyFrom(given[value.name].type)
        value.name = name
    model.metadata_props.add(key=OUTPUTS, value=json.dumps(renamed))


def hand_weights_out(graph: onnx.GraphProto) -> None:
    """Let an output that is a weight be made by a node, in place: passes know outputs by who makes them."""
    outputs = {value.name for value in graph.output}
    weights = [tensor for tensor in graph.initializer if tensor.name in outputs]
    if not weights:
        return
    taken = {name for node in all_nodes(graph) for name in (*node.input, *node.output)}
    taken |= outputs | {tensor.name for tensor in graph.initializer}
    for tensor in weights:
        inner = unique(f"{tensor.name}/value", taken)
        taken.add(inner)
        for node in all_nodes(graph):
            for index, name in enumerate(node.input):
                if name == tensor.name:
                    node.input[index] = inner
        graph.node.append(helper.make_node("Identity", [inner], [tensor.name]))
        tensor.name = inner

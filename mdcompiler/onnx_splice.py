"""Nodes taken out of what holds them: the branch of an If, the body of a function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from onnx import helper

from mdcompiler.names import unique
from mdcompiler.onnx_graph import nested_graphs


def spliced_branch(node: onnx.NodeProto, condition: bool, taken: set[str]) -> list[onnx.NodeProto] | None:
    """The nodes that the If `node` runs for `condition`, making its outputs; None when it has no such branch.

    taken: names of tensors of the graph around; those of the branch get names of their own, and are added.
    """
    wanted = "then_branch" if condition else "else_branch"
    branch = next((item.g for item in node.attribute if item.name == wanted and item.HasField("g")), None)
    if branch is None or branch.sparse_initializer or len(branch.output) != len(node.output):
        return None
    names: dict[str, str] = {}
    made = [tensor.name for tensor in branch.initializer] + [name for item in branch.node for name in item.output]
    for name in filter(None, made):
        names[name] = unique(f"{node.output[0]}/{name}", taken)
        taken.add(names[name])
    nodes = [helper.make_node("Constant", [], [names[item.name]], value=item) for item in branch.initializer]
    nodes += [_renamed(item, names) for item in branch.node]
    ends = zip(branch.output, node.output, strict=True)
    return nodes + [
        helper.make_node("Identity", [names.get(inner.name, inner.name)], [outer]) for inner, outer in ends if outer
    ]


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    _rename(copy, names)
    return copy


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    for side in (node.input, node.output):
        for index, name in enumerate(side):
            side[index] = names.get(name, name)
    for graph in nested_graphs(node):
        for inner in graph.node:
            _rename(inner, names)
        for value in graph.output:
            value.name = names.get(value.name, value.name)


def function_body(schema: Any, node: onnx.NodeProto, types: list[onnx.TypeProto], opset: int) -> Any | None:
    """The operators that `node` is composed of, as ONNX's standard says; None for one that is not composed."""
    data = b""
    if schema.has_context_dependent_function:
        versions = [number for number in schema.context_dependent_function_opset_versions if number <= opset]
        kinds = [kind.SerializeToString() for kind in types]
        data = schema.get_context_dependent_function_with_opset_version(
            max(versions, default=opset), node.SerializeToString(), kinds
        )
    elif schema.has_function:
        versions = [number for number in schema.function_opset_versions if number <= opset]
        data = schema.get_function_with_opset_version(max(versions, default=opset))
    return onnx.FunctionProto.FromString(data) if data else None


def body_nodes(body: onnx.FunctionProto, node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes of `body` with the attributes that `node` gives, and without inputs that it leaves out."""
    given = {item.name: item for item in (*body.attribute_proto, *node.attribute)}
    actual = [*node.input, *[""] * (len(body.input) - len(node.input))]
    missing = {formal: "" for formal, name in zip(body.input, actual, strict=False) if not name}
    return [_bound(_renamed(inner, missing), given) for inner in body.node]


def _bound(node: onnx.NodeProto, given: Mapping[str, onnx.AttributeProto]) -> onnx.NodeProto:
    kept = []
    for item in node.attribute:
        source = given.get(item.ref_attr_name) if item.ref_attr_name else item
        if source is not None:
            value = onnx.AttributeProto()
            value.CopyFrom(source)
            value.name = item.name
            kept.append(value)
    del node.attribute[:]
    node.attribute.extend(kept)
    return node

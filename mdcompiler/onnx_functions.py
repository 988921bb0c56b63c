"""Functions that a model defines itself are written out where they are used, as long as that stays bounded."""

from __future__ import annotations

import onnx
from onnx import inliner

from mdcompiler.errors import ModelError
from mdcompiler.foreign import refusing, shortened
from mdcompiler.onnx_graph import nested_graphs
from mdcompiler.onnx_limits import MAX_NODES
from mdcompiler.operators import DOMAIN

Key = tuple[str, str]


def without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with its own functions in place of their calls; those of the domain `mdc` stay as they are."""
    bodies = {(body.domain, body.name): body for body in model.functions if body.domain != DOMAIN}
    if not bodies:
        return model
    sizes: dict[Key, int] = {}
    for key in bodies:
        _measure(key, bodies, sizes)
    count = sum(_size(node, bodies, sizes) for node in model.graph.node)
    if count > MAX_NODES:
        raise ModelError(
            f"with its functions written out the model has {count} nodes; at most {MAX_NODES} can be compiled. Check "
            "that this is the right file."
        )
    with refusing("writing out the functions of the model", ModelError, "Export it without functions."):
        return inliner.inline_local_functions(model)


def _measure(start: Key, bodies: dict[Key, onnx.FunctionProto], sizes: dict[Key, int]) -> None:
    """Note in `sizes` how many nodes a call becomes, for `start` and what it calls. Raises ModelError for a loop."""
    path: list[Key] = [start]
    while path:
        key = path[-1]
        waits = [called for called in _calls(bodies[key]) if called in bodies and called not in sizes]
        if not waits:
            sizes[key] = sum(_size(node, bodies, sizes) for node in bodies[key].node)
            path.pop()
        elif waits[0] in path:
            raise ModelError(
                f"the function {'.'.join(map(shortened, waits[0]))} of the model calls itself. "
                "Export it without functions."
            )
        else:
            path.append(waits[0])


def _calls(body: onnx.FunctionProto) -> list[Key]:
    waiting, found = list(body.node), []
    while waiting:
        node = waiting.pop()
        found.append((node.domain, node.op_type))
        waiting.extend(inner for graph in nested_graphs(node) for inner in graph.node)
    return found


def _size(node: onnx.NodeProto, bodies: dict[Key, onnx.FunctionProto], sizes: dict[Key, int]) -> int:
    inner = sum(_size(item, bodies, sizes) for graph in nested_graphs(node) for item in graph.node)
    return inner + sizes.get((node.domain, node.op_type), 1)

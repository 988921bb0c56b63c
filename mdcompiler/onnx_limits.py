"""What an ONNX model from elsewhere may contain: one small function for each limit.

Each returns None or the reason as a sentence with the way out; its docstring is the limit as the
documentation states it. `check_limits` asks them all and names the node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import onnx

from mdcompiler.foreign import shortened
from mdcompiler.operators import DOMAIN, operator_names

MAX_NODES = 20_000
MAX_NAME_CHARACTERS = 4096
NEWEST_OPSET = 26
"""Newest opset that every tool underneath has been tried with."""
OLDEST_OPSET = 7
"""Oldest opset that is converted."""

_FLOATS = ("FLOAT", "DOUBLE", "FLOAT16")
_INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL")
ELEMENT_TYPES = frozenset(onnx.TensorProto.DataType.Value(name) for name in (*_FLOATS, *_INTEGERS))
"""Types of elements that tensors may have."""
_STANDARD = ("", "ai.onnx")
_RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform"}) | {
    "RandomUniformLike"
}


def size(model: onnx.ModelProto) -> str | None:
    """A model has 1 to 20,000 nodes."""
    count = len(model.graph.node)
    if 1 <= count <= MAX_NODES:
        return None
    return f"it has {count} nodes; 1 to {MAX_NODES} can be compiled. Check that this is the right file"


def outputs(model: onnx.ModelProto) -> str | None:
    """A model has outputs, each once."""
    names = [value.name for value in model.graph.output]
    if not names:
        return "it has no output. Export it with what it is to compute"
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is None:
        return None
    return (
        f"output {shortened(twice, 80)!r} is listed twice. Leave one out, or put an Identity before it with a name of "
        "its own"
    )


def inputs(model: onnx.ModelProto) -> str | None:
    """A model has an input: what depends on none is a table and no network."""
    weights = {tensor.name for tensor in model.graph.initializer}
    if any(value.name not in weights for value in model.graph.input):
        return None
    return "it has no input, so that its outputs are always the same. Export it with what it is to compute them from"


def names(model: onnx.ModelProto) -> str | None:
    """Names of nodes and tensors have at most 4,096 characters and no NUL: artifacts and C are full of them."""
    cut = next((name for name in _names(model.graph) if "\0" in name), None)
    if cut is not None:
        return f"the name {shortened(cut, 40)!r} holds a NUL character, where C ends a text. Rename it"
    longest = max(_names(model.graph), key=len, default="")
    if len(longest) <= MAX_NAME_CHARACTERS:
        return None
    return (
        f"it has a name of {len(longest)} characters, {shortened(longest, 40)!r}; at most {MAX_NAME_CHARACTERS} are "
        "read. Give its nodes and tensors short names"
    )


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (item.name for side in (graph.node, graph.input, graph.output, graph.initializer) for item in side)
    yield from (name for node in graph.node for side in (node.input, node.output) for name in side)


def opset(model: onnx.ModelProto) -> str | None:
    """The operator set is 7 to 26; those before 17 are converted to 17."""
    versions = [entry.version for entry in model.opset_import if entry.domain in _STANDARD]
    if len(versions) != 1:
        return "it does not say which operator set it uses. Export it again, with opset 17"
    if OLDEST_OPSET <= versions[0] <= NEWEST_OPSET:
        return None
    return f"it uses opset {versions[0]}; {OLDEST_OPSET} to {NEWEST_OPSET} are read. Export it with opset 17"


def sparse(model: onnx.ModelProto) -> str | None:
    """Weights are dense."""
    if not model.graph.sparse_initializer:
        return None
    return "it has sparse weights. Export it with dense ones"


def domain(node: onnx.NodeProto) -> str | None:
    """Operators are ONNX's own or mdcompiler's."""
    if node.domain in _STANDARD:
        known_here = onnx.defs.has(node.op_type)
        return None if known_here else f"ONNX has no operator {node.op_type}. Export with standard operators only"
    if node.domain == DOMAIN:
        known = operator_names()
        known_list = ", ".join(sorted(known))
        return None if node.op_type in known else f"mdc has no operator {node.op_type}; there are {known_list}"
    return f"the domain {node.domain!r} is unknown. Export the model with standard ONNX operators only"


def control_flow(node: onnx.NodeProto) -> str | None:
    """No operator has a graph inside (If, Loop, Scan)."""
    if all(not attribute.HasField("g") and not attribute.graphs for attribute in node.attribute):
        return None
    return "control flow cannot be compiled. Export the model with the branch taken, or with the loop unrolled"


def training(node: onnx.NodeProto) -> str | None:
    """Operators are in inference mode."""
    flags = {attribute.name: attribute.i for attribute in node.attribute}
    if not flags.get("training_mode", 0):
        return None
    return "it is in training mode. Export the model in evaluation mode (`model.eval()` in PyTorch)"


def chance(node: onnx.NodeProto) -> str | None:
    """The same input gives the same output."""
    return f"{node.op_type} draws random numbers. Remove it before the export" if node.op_type in _RANDOM else None


def attributes(node: onnx.NodeProto) -> str | None:
    """An operator has each attribute once."""
    counts = Counter(item.name for item in node.attribute)
    twice = next((name for name, count in counts.items() if count > 1), None)
    return None if twice is None else f"its attribute {shortened(twice, 80)!r} is given twice. Export the model again"


MODEL_LIMITS: tuple[Callable[[onnx.ModelProto], str | None], ...] = (size, names, inputs, outputs, opset, sparse)
NODE_LIMITS: tuple[Callable[[onnx.NodeProto], str | None], ...] = (domain, attributes, training, chance)


def model_faults(model: onnx.ModelProto) -> list[str]:
    """Every limit that `model` breaks, nodes left out."""
    found = [limit(model) for limit in MODEL_LIMITS]
    return [f"the ONNX model cannot be compiled: {reason}." for reason in found if reason]


def node_faults(node: onnx.NodeProto) -> list[str]:
    """Every limit that `node` breaks, as sentences."""
    where = f"node {shortened(node.name, 80)!r} ({shortened(node.op_type, 80)})"
    found = [limit(node) for limit in NODE_LIMITS]
    return [f"the ONNX model cannot be compiled: {where}: {reason}." for reason in found if reason]

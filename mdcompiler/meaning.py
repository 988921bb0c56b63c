"""Whether the network that is compiled is the one in the file.

Reading changes a file: older opsets are converted, constants folded, names repaired. The judge therefore runs the
file's own model, untouched, beside what was made of it, before anything else happens. Both run unoptimised in the same
runtime, so they differ by next to nothing unless a meaning was lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx
from numpy.typing import NDArray

from mdcompiler.errors import ModelError
from mdcompiler.module import Module
from mdcompiler.reference import run_reference
from mdcompiler.tolerance import describe_difference, within_float_tolerance

Arrays = dict[str, NDArray[Any]]


def check_meaning(module: Module, inputs: Mapping[str, NDArray[Any]]) -> None:
    """Raise ModelError, naming the node, when `module` computes something else than the file it was read from.

    inputs: by the names that `module` has. Networks that were not read from a file have nothing to be compared with.
    """
    if module.original is None:
        return
    got = run_reference(module.to_onnx(), inputs)
    want = run_original(module, inputs)
    for name, expected in want.items():
        if not within_float_tolerance(got[name], expected):
            raise ModelError(_refusal(module, inputs, name, describe_difference(got[name], expected)))


def run_original(module: Module, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """What the file's own model says; inputs and outputs by the names that `module` has."""
    model = module.original
    if model is None:
        return run_reference(module.to_onnx(), inputs)
    outputs = run_reference(model, original_inputs(module, inputs))
    ours = [tensor.name for tensor in module.graph.outputs]
    return dict(zip(ours, outputs.values(), strict=True))


def original_inputs(module: Module, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """`inputs` by the names in the file: reading may rename tensors, and never changes their order."""
    assert module.original is not None
    given = {tensor.name for tensor in module.original.graph.initializer}
    theirs = [value.name for value in module.original.graph.input if value.name not in given]
    return dict(zip(theirs, (inputs[tensor.name] for tensor in module.graph.inputs), strict=True))


def _refusal(module: Module, inputs: Mapping[str, NDArray[Any]], output: str, difference: str) -> str:
    return (
        f"reading the model changed what it computes, first at {_first_changed(module, inputs)} "
        f"(output {output!r}: {difference}). Export the model with opset 17 or later, so that nothing is converted."
    )


def _first_changed(module: Module, inputs: Mapping[str, NDArray[Any]]) -> str:
    """The first node of the file whose result is another one now, in words."""
    model, now = module.original, module.to_onnx()
    assert model is not None
    kept = {name for node in now.graph.node for name in node.output}
    made = {name: node for node in model.graph.node for name in node.output if name in kept}
    try:
        want = run_reference(_with_outputs(model, made), original_inputs(module, inputs))
        got = run_reference(_with_outputs(now, made), inputs)
    except ModelError:
        return "a node that cannot be told"
    for name, node in made.items():
        if not within_float_tolerance(got[name], want[name]):
            return f"node {node.name!r} ({node.op_type}, tensor {name!r})"
    return "its last node"


def _with_outputs(model: onnx.ModelProto, names: Mapping[str, Any]) -> onnx.ModelProto:
    """A copy of `model` whose outputs are the tensors `names`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return copy

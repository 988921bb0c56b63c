"""What the tests of all passes check in the same way."""

from __future__ import annotations

import numpy as np
import onnx

from mdcompiler.compile_pass import ExplainingPass, Pass
from mdcompiler.kernel import kernel_name
from mdcompiler.module import Module
from mdcompiler.reference import run_reference
from mdcompiler.sampling import sample_inputs
from mdcompiler.target import find_target
from mdcompiler.tolerance import describe_difference, within_float_tolerance
from mdcompiler.verify import check_structure


def module_of(model: onnx.ModelProto) -> Module:
    return Module.from_onnx(model, find_target("null"))


def assert_same_numbers(got: onnx.ModelProto, want: onnx.ModelProto) -> None:
    inputs = sample_inputs(module_of(want))
    before, after = run_reference(want, inputs), run_reference(got, inputs)
    assert before.keys() == after.keys()
    for name, expected in before.items():
        assert np.ptp(expected) > 0, f"output {name} is constant: nothing is compared"
        assert within_float_tolerance(after[name], expected), describe_difference(after[name], expected)


def run_pass(item: Pass, model: onnx.ModelProto, *before: Pass) -> Module:
    """Run `item` after `before`; it must edit, keep the structure and the numbers, and have no more to do."""
    module = module_of(model)
    for earlier in before:
        earlier.run(module)
    assert item.run(module) > 0, f"{item.name} made no edit"
    check_structure(module)
    assert_same_numbers(module.to_onnx(), model)
    assert_untouched(item, module)
    return module


def assert_untouched(item: Pass, module: Module) -> None:
    """Running `item` over `module` changes nothing and says so."""
    before = module.to_onnx()
    assert item.run(module) == 0
    assert module.to_onnx() == before


def refused(item: ExplainingPass, model: onnx.ModelProto, *before: Pass) -> dict[str, str]:
    """Node -> reason, after `item` ran over `model` without an edit."""
    module = module_of(model)
    for earlier in before:
        earlier.run(module)
    assert_untouched(item, module)
    return {refusal.node: refusal.reason for refusal in item.refusals(module)}


def ops(module: Module) -> list[str]:
    """The operators in order of execution."""
    return [node.op for node in module.graph.nodes]


def groups(module: Module) -> dict[str, list[str]]:
    """Kernel -> operators, for kernels of at least two nodes."""
    found: dict[str, list[str]] = {}
    for node in module.graph.nodes:
        found.setdefault(kernel_name(node), []).append(node.op)
    return {name: members for name, members in found.items() if len(members) > 1}

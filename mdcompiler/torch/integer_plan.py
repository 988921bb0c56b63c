"""What a network computes in integers, as the quantizer itself plans it; numbers only, no torch.

The spec is lowered and fused as for a compilation, and `Planner` says which integer operations there are and what
scales they have. A fake-quantized module carries out that plan, and the export writes it, so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import onnx_graphsurgeon as gs

from mdcompiler.activation import Activation, activation_after, single_activation
from mdcompiler.calibration import Ranges, calibrate
from mdcompiler.calibration.samples import Samples
from mdcompiler.errors import UnsupportedError
from mdcompiler.lower import lower
from mdcompiler.lowering.ends import BOXES
from mdcompiler.lowering.steps import Weights
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.passes.move_sigmoid import MoveSigmoid
from mdcompiler.pipeline import Pipeline
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.plan import PlannedStep, Planner
from mdcompiler.quantization.scheme import Scheme
from mdcompiler.quantization.split import FloatStep
from mdcompiler.spec import Spec
from mdcompiler.target import find_target
from mdcompiler.weights.quantization import Quantization


@dataclass(frozen=True)
class Group:
    """Tensors that share a scale and zero point. leader: the one that gives it; fixed: the scale is not to be learned.

    elements: numbers that the leader has for one picture.
    """

    leader: str
    quantization: Quantization
    fixed: bool
    elements: int


@dataclass(frozen=True)
class IntegerPlan:
    """steps: integer operations in order. groups, group_of: by number, and tensor -> number.

    convolutions: name of the node -> float weight and bias. parts: what the box encodings are joined from where that
    is done in float, else only themselves. picture: the bytes' meaning.
    """

    spec: Spec
    scheme: Scheme
    steps: tuple[PlannedStep, ...]
    groups: tuple[Group, ...]
    group_of: Mapping[str, int]
    convolutions: Mapping[str, tuple[Any, Any]]
    parts: tuple[str, ...]
    picture: Quantization

    def __deepcopy__(self, memo: dict[int, Any]) -> IntegerPlan:
        """Nothing in it changes, and a graph of nodes is too deep to be copied."""
        return self


def float_network(spec: Spec, weights: Weights, raw: bool) -> Module:
    """The network as it is when quantization begins: lowered, simplified, fused, a sigmoid for each level."""
    module = Module.from_onnx(lower(spec, weights, raw), find_target("null"))
    stages = ("simplify", "fuse")
    Pipeline(verify=0).run(module, [item for item in builtin_passes() if item.stage in stages])
    MoveSigmoid().run(module)
    return module


def observed_ranges(spec: Spec, weights: Weights, samples: Samples, method: str) -> Ranges:
    """The range of every tensor of the network over `samples`, as calibration finds it."""
    return calibrate(float_network(spec, weights, raw=True), samples, method)


def plan_integers(
    spec: Spec, weights: Weights, scheme: Scheme, ranges: Mapping[str, tuple[float, float]]
) -> IntegerPlan:
    """The plan of `spec` with the scales that `ranges` ask for.

    Raises UnsupportedError for tensors without a range, and for a scheme that leaves more than the boxes' join float.
    """
    graph = float_network(spec, weights, raw=True).graph
    planner = Planner(graph, scheme, Parameters(ranges=dict(ranges)))
    plan = planner.finish()
    assert plan.picture is not None, "a lowered spec begins with its picture"
    groups, group_of = _groups(planner, graph)
    convolutions = {
        planned.step.name: tuple(tensor.values for tensor in planned.step.nodes[0].inputs[1:3])
        for planned in plan.steps
        if planned.step.operation == "conv"
    }
    parts = _parts(graph, plan.of_node())
    return IntegerPlan(spec, scheme, tuple(plan.steps), groups, group_of, convolutions, parts, plan.picture)


def activation_of(step: FloatStep) -> Activation:
    """The function that a table stands for."""
    found = single_activation(step.nodes[0]) if len(step.nodes) == 1 else activation_after(step.inputs[0])
    assert found is not None, "the planner made it a table because it is an activation"
    return found


def _groups(planner: Planner, graph: gs.Graph) -> tuple[tuple[Group, ...], dict[str, int]]:
    quantization, assignment = planner.plan.quantization, planner.assignment
    tensors = graph.tensors()
    exact = planner.scheme.rounding == "power-of-two"
    found: list[Group] = []
    group_of: dict[str, int] = {}
    named = assignment.groups()
    pictures = {name: [name] for name in quantization if name not in assignment.dtypes}
    for leader, names in {**pictures, **named}.items():
        ends_at_one = any((step := assignment.steps.get(name)) and step.ends_at_one for name in names)
        elements = _elements(tensors[leader].shape)
        fixed = exact or ends_at_one or leader in pictures
        group_of.update(dict.fromkeys(names, len(found)))
        found.append(Group(leader, quantization[leader], fixed, elements))
    return tuple(found), group_of


def _elements(shape: Iterable[int]) -> int:
    count = 1
    for size in shape:
        count *= int(size)
    return count


def _parts(graph: gs.Graph, planned: Mapping[int, PlannedStep]) -> tuple[str, ...]:
    left = [node for node in graph.nodes if id(node) not in planned]
    if not left:
        return (BOXES,)
    if len(left) > 1 or left[0].op != "Concat" or left[0].outputs[0].name != BOXES:
        names = ", ".join(node.name for node in left[:8])
        raise UnsupportedError(
            f"preparing for quantization-aware training: {names} would stay float; only the join of the boxes may. "
            "Choose a scheme in which they are integers."
        )
    return tuple(tensor.name for tensor in left[0].inputs)

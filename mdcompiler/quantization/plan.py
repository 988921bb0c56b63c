"""Which kernels become integers, in which steps, and with which scales: the plan that `insert-qdq` carries out.

Concatenations are the only place with a choice, and a bad one kills a detector: one scale for all levels of a
head. Therefore a concatenation whose result only float kernels read (the boxes before the post-processing) is done
in float, every part with its own scale, where the scheme allows it; otherwise all parts take one scale. Inside a
network the parts keep their own scales and the concatenation requantizes them. Parts that are alike anyway (the
scores, after a sigmoid each) are joined as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from mdcompiler.compile_pass import Refusal
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.module import consumers, is_output
from mdcompiler.quantization.affine import bounds
from mdcompiler.quantization.assign import Assignment, Parameters, assign, needs_range, picture_quantization
from mdcompiler.quantization.scheme import Precision, Scheme
from mdcompiler.quantization.split import FloatStep, split
from mdcompiler.weights.quantization import Quantization


@dataclass(frozen=True)
class PlannedStep:
    """One integer operation: `step` of `kernel`. correction: to add to the picture's meaning, see assign."""

    step: FloatStep
    kernel: Kernel
    correction: float = 0.0


@dataclass
class Plan:
    """steps: in order. quantization: of every tensor that becomes integers. picture: the bytes' own, if they do.

    refusals: kernels that stay float although integers were asked for, with the reason.
    """

    steps: list[PlannedStep] = field(default_factory=list)
    quantization: dict[str, Quantization] = field(default_factory=dict)
    picture: Quantization | None = None
    refusals: list[Refusal] = field(default_factory=list)

    def of_node(self) -> dict[int, PlannedStep]:
        """id of a node -> the step it is in."""
        return {id(node): planned for planned in self.steps for node in planned.step.nodes}


@dataclass
class Planner:
    """precision: kernel or block -> int8, int16 or float; `default` for all others."""

    graph: gs.Graph
    scheme: Scheme
    parameters: Parameters
    precision: Mapping[str, Precision] = field(default_factory=dict)
    default: Precision = "int8"
    plan: Plan = field(default_factory=Plan)
    assignment: Assignment = field(init=False)

    def __post_init__(self) -> None:
        self.assignment = Assignment(self.scheme, self.parameters, {}, {})
        found = kernels(self.graph)
        self._check_names(found)
        for kernel in found:
            self._kernel(kernel)

    def finish(self) -> Plan:
        """The plan with all quantization assigned. Raises UnsupportedError when ranges are missing."""
        self.plan.quantization |= assign(self.assignment)
        return self.plan

    def needed(self) -> list[str]:
        """The tensors whose range calibration must give."""
        return needs_range(self.assignment)

    def _check_names(self, found: list[Kernel]) -> None:
        known = {kernel.name for kernel in found} | {kernel.block for kernel in found}
        unknown = sorted(set(self.precision) - known)
        if unknown:
            raise UnsupportedError(
                f"choosing precision: the network has no kernel or block called {', '.join(unknown[:8])}. "
                "`mdc compile --stop-after fuse` writes the network with its names."
            )

    def _kernel(self, kernel: Kernel) -> None:
        precision = self.precision.get(kernel.name, self.precision.get(kernel.block, self.default))
        reason = f"precision {precision} was chosen" if precision == "float" else ""
        steps = split(self.graph, kernel)
        if isinstance(steps, str):
            reason = steps
        elif not reason and self._is_output_concat(steps):
            reason = "its parts keep their own scales, and only float kernels read it"
        if reason or isinstance(steps, str):
            self._stay_float(kernel, precision, reason)
            return
        dtype = self._dtype(kernel, precision)
        for step in steps:
            self._integer(kernel, step, dtype)

    def _dtype(self, kernel: Kernel, precision: Precision) -> str:
        dtype = self.scheme.dtype(precision)
        if not dtype:
            raise UnsupportedError(
                f"choosing precision: {kernel.name} is to be {precision}, which the scheme {self.scheme.name} does not "
                "have. Choose int8, or a target whose scheme has it (`mdc targets --json`)."
            )
        return dtype

    def _stay_float(self, kernel: Kernel, precision: Precision, reason: str) -> None:
        if kernel.kind not in self.scheme.may_stay_float and precision != "float":
            raise UnsupportedError(
                f"inserting quantization: {kernel.name} ({kernel.kind}) must be integers on a machine of the scheme "
                f"{self.scheme.name}, but {reason}. Choose precision float for it, or another target."
            )
        self.plan.refusals.append(Refusal(kernel.nodes[0].name, f"{kernel.name} stays float: {reason}"))

    def _is_output_concat(self, steps: tuple[FloatStep, ...]) -> bool:
        if len(steps) != 1 or steps[0].operation != "concat" or "concat" not in self.scheme.may_stay_float:
            return False
        step = steps[0]
        given = step.output.name in self.parameters.quantization
        return not given and self._leaves(step) and not self._alike(step)

    def _leaves(self, step: FloatStep) -> bool:
        """Whether nothing but float kernels reads the result."""
        readers = consumers(step.output)
        return is_output(self.graph, step.output) or all(reader.domain for reader in readers)

    def _alike(self, step: FloatStep) -> bool:
        """Whether all parts are sigmoids of one width, whose scale is fixed."""
        producers = [self.assignment.steps.get(self.assignment.leader(part.name)) for part in step.inputs]
        dtypes = {self.assignment.dtypes.get(part.name) for part in step.inputs}
        return len(dtypes) == 1 and all(item is not None and item.ends_at_one for item in producers)

    def _integer(self, kernel: Kernel, step: FloatStep, dtype: str) -> None:
        if step.operation == "picture":
            self._picture(kernel, step)
            return
        for tensor in step.inputs:
            if tensor.name not in self.plan.quantization:
                self.assignment.dtypes.setdefault(tensor.name, dtype)
        made = step.output.name
        self.assignment.steps[made] = step
        self.assignment.dtypes[made] = dtype
        if step.operation == "move":
            self._share(step.inputs[0].name, made)
        if step.operation == "concat" and self._joins(step):
            for part in step.inputs:
                self._share(part.name, made)
        self.plan.steps.append(PlannedStep(step, kernel))

    def _joins(self, step: FloatStep) -> bool:
        """Whether the parts take the scale of the concatenation; not when the caller gives it one of its own."""
        return step.output.name not in self.parameters.quantization and (self._alike(step) or self._leaves(step))

    def _share(self, first: str, second: str) -> None:
        if second not in self.parameters.quantization or first not in self.parameters.quantization:
            self.assignment.dtypes[second] = self.assignment.dtypes[first]
            self.assignment.share(first, second)

    def _picture(self, kernel: Kernel, step: FloatStep) -> None:
        made = step.output.name
        given = self.parameters.quantization.get(made)
        meaning, correction = picture_quantization(step) if given is None else (given, 0.0)
        shift = bounds(meaning.dtype)[0]
        self.plan.picture = Quantization(meaning.scale, (meaning.zero_point[0] - shift,), "uint8")
        shift = bounds(self.scheme.activation)[0]
        zero_point = self.plan.picture.zero_point[0] + shift
        self.plan.quantization[made] = Quantization(meaning.scale, (zero_point,), self.scheme.activation)
        self.plan.steps.append(PlannedStep(step, kernel, correction))


def tensors_to_calibrate(
    graph: gs.Graph,
    scheme: Scheme,
    parameters: Parameters | None = None,
    precision: Mapping[str, Precision] | None = None,
    default: Precision = "int8",
) -> list[str]:
    """The float tensors of `graph` whose range `insert-qdq` needs, in order of execution."""
    return Planner(graph, scheme, parameters or Parameters(), precision or {}, default).needed()

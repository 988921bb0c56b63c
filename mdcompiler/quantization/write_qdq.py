"""Carry out a plan: put QuantizeLinear and DequantizeLinear into a graph.

Names: node and tensor `<tensor>/q`, `<tensor>/dq` (numbered from the second reader on), parameters
`<tensor>/scale` and `<tensor>/zero_point`, integers `<weight>_q`, `<bias>_q`. `<tensor>` is the name the float
tensor had, even when the node that made it, a clamp, is gone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.kernel import KERNEL, KIND, Kernel
from mdcompiler.module import is_output
from mdcompiler.names import unique
from mdcompiler.quantization.affine import bounds, clamp_integers
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.plan import Plan, PlannedStep
from mdcompiler.quantization.raise_opset import raise_opset
from mdcompiler.quantization.scheme import Scheme
from mdcompiler.quantization.write_conv import conv_integers
from mdcompiler.weights.quantization import Quantization

Home = tuple[str, str]
"""Name and kind of a kernel."""


def write_qdq(graph: gs.Graph, plan: Plan, scheme: Scheme, parameters: Parameters) -> None:
    """Rewrite `graph` by `plan`, in place."""
    _Writer(graph, plan, scheme, parameters).write()


class _Writer:
    def __init__(self, graph: gs.Graph, plan: Plan, scheme: Scheme, parameters: Parameters) -> None:
        self.graph = graph
        self.plan = plan
        self.scheme = scheme
        self.parameters = parameters
        self.nodes: list[gs.Node] = []
        self.taken = set(graph.tensors()) | {node.name for node in graph.nodes}
        self.integers: dict[str, gs.Variable] = {}
        self.floats: dict[str, gs.Variable] = {}
        self.constants: dict[str, gs.Constant] = {}
        self.corrections = {item.step.output.name: item.correction for item in plan.steps if item.correction}
        self.made = {item.step.output.name for item in plan.steps}
        self.entering = {tensor.name for item in plan.steps for tensor in item.step.inputs} - self.made

    def write(self) -> None:
        of_node = self.plan.of_node()
        if any(item.dtype in ("uint16", "int16") for item in self.plan.quantization.values()):
            raise_opset(self.graph)
        for tensor in self.graph.inputs:
            self._enter(tensor)
        for node in list(self.graph.nodes):
            planned = of_node.get(id(node))
            if planned is None:
                self._float_node(node)
            elif node is planned.step.nodes[-1]:
                self._write_step(planned)
        self.graph.nodes = self.nodes

    def _float_node(self, node: gs.Node) -> None:
        node.inputs = [self._real(t) if t.name in self.integers else t for t in node.inputs]
        self.nodes.append(node)
        for tensor in node.outputs:
            self._enter(tensor)

    def _enter(self, tensor: gs.Variable) -> None:
        """Quantize a float tensor that an integer kernel reads, in a kernel of its own."""
        if tensor.name in self.entering and tensor.name in self.plan.quantization:
            name = f"{tensor.name}/q"
            self.integers[tensor.name] = self._quantize(tensor, tensor.name, (name, "quantize"))

    def _real(self, tensor: gs.Variable) -> gs.Variable:
        """The float numbers of an integer tensor, for float kernels and outputs."""
        if tensor.name not in self.floats:
            home = (f"{tensor.name}/dq", "dequantize")
            # an output that a float node makes exists already
            result = tensor if is_output(self.graph, tensor) and tensor.name in self.made else None
            self.floats[tensor.name] = self._dequantize(tensor.name, home, result)
        return self.floats[tensor.name]

    def _write_step(self, planned: PlannedStep) -> None:
        step, home = planned.step, _home(planned.kernel)
        if step.operation == "picture":
            self._picture(planned)
            return
        main = step.nodes[0]
        if step.operation == "conv":
            self._conv_inputs(main, home)
        else:
            read = {tensor.name: self._dequantize(tensor.name, home) for tensor in step.inputs}
            for node in step.nodes:
                node.inputs = [read.get(tensor.name, tensor) for tensor in node.inputs]
        result = self._result(planned)
        self.integers[step.output.name] = self._quantize(result, step.output.name, home)
        if is_output(self.graph, step.output):
            self._real(step.output)

    def _conv_inputs(self, conv: gs.Node, home: Home) -> None:
        source = str(conv.inputs[0].name)
        correction = self.corrections.get(source, 0.0)
        found = conv_integers(conv, self.plan.quantization[source], self.scheme, self.parameters, correction)
        conv.inputs = [
            self._dequantize(source, home),
            self._constant_dq(found.weight_name, found.weight, found.weight_quantization, home),
            self._constant_dq(found.bias_name, found.bias, found.bias_quantization, home),
        ]

    def _result(self, planned: PlannedStep) -> gs.Variable:
        """Append the float nodes of the step; the tensor that is then quantized."""
        step = planned.step
        clamped = step.operation in ("conv", "add") and len(step.nodes) > 1
        kept = step.nodes[:1] if clamped else step.nodes
        self.nodes.extend(kept)
        last = kept[-1]
        clamp = self._clamp(planned) if clamped else None
        if clamp is not None:
            self.nodes.append(clamp)
            last = clamp
        elif clamped:
            step.nodes[1].inputs, step.nodes[1].outputs = [], []
        if is_output(self.graph, last.outputs[0]):
            name = self._name(f"{last.outputs[0].name}/real")
            last.outputs = [gs.Variable(name, np.dtype(np.float32), list(step.output.shape))]
        return last.outputs[0]

    def _clamp(self, planned: PlannedStep) -> gs.Node | None:
        """The clamp after a convolution or sum, without the bounds that saturation keeps anyway."""
        step = planned.step
        quantization = self.plan.quantization[step.output.name]
        low, high = clamp_integers(quantization, step.low, step.high)
        least, most = bounds(quantization.dtype)
        if (low, high) == (least, most):
            return None
        old, source = step.nodes[1], step.nodes[0].outputs[0]
        wanted = self._ends(step, low, high, quantization)
        ends = {key: self._shared(f"{step.output.name}/{key}", np.array(value, np.float32)) for key, value in wanted}
        op = "Clip" if len(ends) == 2 else "Min" if "max" in ends else "Max"
        if op == "Max" and step.low == 0:
            op, ends = "Relu", {}
        old.op, old.attrs = op, {key: value for key, value in old.attrs.items() if key.startswith("mdc.")}
        old.inputs = [source, *(ends[key] for key in ("min", "max") if key in ends)]
        return old

    @staticmethod
    def _ends(step: Any, low: int, high: int, quantization: Quantization) -> list[tuple[str, float]]:
        least, most = bounds(quantization.dtype)
        found = [("min", step.low)] if low > least else []
        return [*found, ("max", step.high)] if high < most else found

    def _picture(self, planned: PlannedStep) -> None:
        step, home, meaning = planned.step, _home(planned.kernel), self.plan.picture
        assert meaning is not None, "the planner set it with the step"
        image, transpose, made = step.inputs[0], step.nodes[1], step.output.name
        self.plan.quantization[image.name] = meaning
        self.integers[image.name] = image
        transpose.inputs = [self._dequantize(image.name, home)]
        self.nodes.append(transpose)
        for node in (step.nodes[0], *step.nodes[2:]):
            node.inputs, node.outputs = [], []
        moved = transpose.outputs[0]
        moved.dtype = np.dtype(np.float32)
        if self.plan.quantization[made] == meaning:
            self.integers[made] = self._quantize(moved, made, home)
            return
        self.plan.quantization[moved.name] = meaning
        self.integers[moved.name] = self._quantize(moved, moved.name, home)
        self.integers[made] = self._quantize(self._dequantize(moved.name, home), made, home)

    def _quantize(self, real: gs.Variable, name: str, home: Home) -> gs.Variable:
        quantization = self.plan.quantization[name]
        made = self._variable(f"{name}/q", quantization.dtype, real.shape)
        self._append("QuantizeLinear", made, [real, *self._affine(name, quantization)], home)
        return made

    def _dequantize(self, name: str, home: Home, result: gs.Variable | None = None) -> gs.Variable:
        integers = self.integers[name]
        made = result or self._variable(f"{name}/dq", "float32", integers.shape)
        inputs = [integers, *self._affine(name, self.plan.quantization[name])]
        self._append("DequantizeLinear", made, inputs, home, f"{name}/dq" if result is not None else "")
        return made

    def _constant_dq(self, name: str, values: NDArray[Any], quantization: Quantization, home: Home) -> gs.Variable:
        integers = self.constants.get(f"{name}_q")
        if integers is None:
            integers = gs.Constant(self._name(f"{name}_q"), np.ascontiguousarray(values))
            self.constants[f"{name}_q"] = integers
        made = self._variable(f"{name}/dq", "float32", list(values.shape))
        self._append(
            "DequantizeLinear", made, [integers, *self._affine(name, quantization)], home, "", quantization.axis
        )
        return made

    def _append(
        self,
        op: str,
        made: gs.Variable,
        inputs: list[gs.Tensor],
        home: Home,
        node_name: str = "",
        axis: int | None = None,
    ) -> None:
        attributes = {KERNEL: home[0], KIND: home[1]} | ({} if axis is None else {"axis": axis})
        name = self._name(node_name) if node_name else made.name
        self.nodes.append(gs.Node(op, name, attributes, inputs, [made]))

    def _affine(self, name: str, quantization: Quantization) -> list[gs.Constant]:
        whole = quantization.axis is None
        scale, zero = np.array(quantization.scale, np.float32), np.array(quantization.zero_point, quantization.dtype)
        return [
            self._shared(f"{name}/scale", scale.reshape(()) if whole else scale),
            self._shared(f"{name}/zero_point", zero.reshape(()) if whole else zero),
        ]

    def _shared(self, name: str, value: NDArray[Any]) -> gs.Constant:
        found = self.constants.get(name)
        if found is None or not np.array_equal(found.values, value):
            found = gs.Constant(self._name(name), value)
            self.constants[name] = found
        return found

    def _variable(self, name: str, dtype: str, shape: Any) -> gs.Variable:
        return gs.Variable(self._name(name), np.dtype(dtype), list(shape))

    def _name(self, wanted: str) -> str:
        name = unique(wanted, self.taken)
        self.taken.add(name)
        return name


def _home(kernel: Kernel) -> Home:
    return kernel.name, kernel.kind

"""Which tensor of a `.tflite` graph is which tensor of our network.

The network's steps are walked in order; the operator of a step is the one that reads the tensor already found
for the step's source and has the step's kind, weight shape, stride and activation. Names in the file decide
nothing. Everything must fit, and no convolution may be left over.
"""

from __future__ import annotations

from typing import NoReturn

from mdcompiler.errors import WeightsError
from mdcompiler.spec.network import Network
from mdcompiler.spec.steps import Add, Conv, SqueezeExcite, Step
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator
from mdcompiler.weights.tflite_head import TfliteHead

_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
_ACTIVATION = {"none": "NONE", "relu": "RELU", "relu6": "RELU6", "hard-swish": "HARD_SWISH"}


class Match:
    """tensors: our tensor -> the file's. convs: path of a convolution -> its operator."""

    def __init__(self, graph: TfliteGraph, network: Network, head: TfliteHead) -> None:
        """Match all of `network`. Raises WeightsError naming the first place where the file differs."""
        self.graph = graph
        self.tensors = {network.backbone[0].steps[0].source.name: _image(graph)}
        self.convs: dict[str, TfliteOperator] = {}
        self._reserved = {operator.index: path for path, operator in head.convs.items()}
        for step in network.steps:
            self._step(step)
        self._nothing_left()

    def _step(self, step: Step) -> None:
        if isinstance(step, Conv):
            self._conv(step)
        elif isinstance(step, SqueezeExcite):
            self._squeeze_excite(step)
        else:
            self._add(step)

    def _conv(self, step: Conv) -> None:
        kind = "DEPTHWISE_CONV_2D" if step.depthwise else "CONV_2D"
        fitting = [item for item in self._readers(step.source.name, kind) if self._fits(step, item)]
        if len(fitting) != 1:
            self._no_conv(step, kind, len(fitting))
        operator = fitting[0]
        self.convs[step.path] = operator
        if operator.padding != "SAME" or operator.dilation != (1, 1):
            self._fail(step.path, f"padding {operator.padding}, dilation {operator.dilation}", "SAME and (1, 1)")
        self._activation(step, operator)

    def _fits(self, step: Conv, operator: TfliteOperator) -> bool:
        reserved = self._reserved.get(operator.index)
        if reserved != (step.path if step.path.startswith("head/") else None) or len(operator.inputs) < 2:
            return False
        weight = self.graph.constant(operator.inputs[1])
        stride = (step.stride, step.stride)
        return weight is not None and weight.shape == file_shape(step) and operator.stride == stride

    def _activation(self, step: Conv, operator: TfliteOperator) -> None:
        wanted = _ACTIVATION.get(step.activation)
        made = operator.outputs[0]
        if operator.activation == wanted:
            self.tensors[step.output.name] = made
            return
        following = [item for item in self.graph.consumers.get(made, []) if item.kind == wanted]
        if operator.activation != "NONE" or not following:
            self._fail(step.path, f"activation {operator.activation}", step.activation)
        self.tensors[f"{step.path}/{'conv' if step.epsilon is None else 'bn'}"] = made
        self.tensors[step.output.name] = following[0].outputs[0]

    def _squeeze_excite(self, step: SqueezeExcite) -> None:
        pools = [*self._readers(step.source.name, "MEAN"), *self._readers(step.source.name, "AVERAGE_POOL_2D")]
        if not pools:
            self._fail(step.path, "no MEAN or AVERAGE_POOL_2D", "squeeze-excite")
        self.tensors[step.pooled.name] = pools[0].outputs[0]
        self._conv(step.reduce)
        self._conv(step.expand)
        gates = self._readers(step.expand.output.name, "LOGISTIC")
        if step.gate != "sigmoid" or not gates:
            self._fail(step.path, "a gate other than LOGISTIC" if not gates else "LOGISTIC", f"the gate {step.gate}")
        gate = gates[0].outputs[0]
        self.tensors[f"{step.path}/gate"] = gate
        self.tensors[step.output.name] = self._joined(step.path, "MUL", gate, self.tensors[step.source.name])

    def _add(self, step: Add) -> None:
        ends = self.tensors[step.source.name], self.tensors[step.shortcut.name]
        self.tensors[step.output.name] = self._joined(step.path, "ADD", *ends)

    def _joined(self, path: str, kind: str, first: int, second: int) -> int:
        """The output of the operator `kind` that reads both tensors."""
        for operator in self.graph.consumers.get(first, []):
            if operator.kind == kind and set(operator.inputs) == {first, second} and operator.activation == "NONE":
                return operator.outputs[0]
        return self._fail(path, f"no {kind} without activation", "one that joins the block's two tensors")

    def _readers(self, name: str, kind: str) -> list[TfliteOperator]:
        readers = self.graph.consumers.get(self.tensors[name], [])
        return [item for item in readers if item.kind == kind and item.inputs[0] == self.tensors[name] and item.outputs]

    def _nothing_left(self) -> None:
        used = {operator.index for operator in self.convs.values()}
        left = [item for item in self.graph.operators if item.kind in _CONVOLUTIONS and item.index not in used]
        if left:
            name = self.graph.tensors[left[0].outputs[0]].name if left[0].outputs else "a convolution"
            self._fail("the whole network", f"{len(left)} more convolutions, the first {name!r},", f"{len(used)}")

    def _no_conv(self, step: Conv, kind: str, count: int) -> NoReturn:
        there = [
            f"{item.kind} of {list(self.graph.tensors[item.inputs[1]].shape)} stride {item.stride[0]}"
            for item in self.graph.consumers.get(self.tensors[step.source.name], [])
            if item.kind in _CONVOLUTIONS and len(item.inputs) > 1
        ]
        found = f"{count} fitting convolutions (reading its input: {', '.join(there[:8]) or 'none'})"
        self._fail(step.path, found, f"one {kind} of {list(file_shape(step))} stride {step.stride}")

    def _fail(self, path: str, found: str, expected: str) -> NoReturn:
        raise WeightsError(
            f"reading weights: {self.graph.path} is another network than the spec: at {path} it has {found} where the "
            f"spec has {expected}. Give the spec that the file was trained with."
        )


def file_shape(step: Conv) -> tuple[int, ...]:
    """The shape of a convolution's weights in the file: OHWI, depthwise [1, k, k, C]."""
    outputs, inputs, *window = step.weight_shape
    return (1, *window, outputs) if step.depthwise else (outputs, *window, inputs)


def _image(graph: TfliteGraph) -> int:
    """The tensor that the stem reads: the input, or the input quantized or dequantized."""
    tensor = graph.inputs[0]
    readers = graph.consumers.get(tensor, [])
    if len(readers) == 1 and readers[0].kind in ("QUANTIZE", "DEQUANTIZE"):
        return readers[0].outputs[0]
    return tensor

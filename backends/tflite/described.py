"""One operator as the rules see it, whether it stands in a `.tflite` file or is still a part of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator


@dataclass(frozen=True)
class DescribedTensor:
    """shape: in the file's layout, channels last. type: a word of the schema. values: of a constant, else None."""

    name: str
    shape: tuple[int, ...]
    type: str
    values: NDArray[Any] | None = None

    @property
    def long_axes(self) -> tuple[int, ...]:
        """The axes with more than one element."""
        return tuple(axis for axis, extent in enumerate(self.shape) if extent > 1)


@dataclass(frozen=True)
class Described:
    """kind: a word of the schema or a custom operator's name. where: what a user calls it.

    inputs: those that are there. version: None before the file is written.
    """

    kind: str
    where: str
    inputs: tuple[DescribedTensor, ...]
    outputs: tuple[DescribedTensor, ...]
    activation: str = "NONE"
    dilation: tuple[int, int] = (1, 1)
    version: int | None = None

    @property
    def data(self) -> tuple[DescribedTensor, ...]:
        """Inputs and outputs that are no constants."""
        return tuple(tensor for tensor in (*self.inputs, *self.outputs) if tensor.values is None)


def describe(graph: TfliteGraph, operator: TfliteOperator) -> Described:
    """`operator` of the file `graph`."""
    inputs, outputs = (
        tuple(_tensor(graph, index) for index in ends if index >= 0) for ends in (operator.inputs, operator.outputs)
    )
    where = outputs[0].name if outputs else operator.kind
    return Described(operator.kind, where, inputs, outputs, operator.activation, operator.dilation, operator.version)


def _tensor(graph: TfliteGraph, index: int) -> DescribedTensor:
    tensor = graph.tensors[index]
    return DescribedTensor(tensor.name, tensor.shape, tensor.type, tensor.data)

"""Where the parameters lie: what stays in the chip's memory from one picture to the next, and what streams in anew.

The chip has 8 MiB for parameters, instructions and activations together. The plan gives the activations what the
widest moment of the network needs and fills the rest with parameters in order of execution; what comes after the rest
is full streams. It is an estimate: the compiler keeps its order to itself, and it can cut large activations into parts.
What it has reported as room for parameters (used and remaining, google-coral/edgetpu issues 324, 463, 60 and 427) goes
from 8.19 MiB for tiny networks over 7.74 and 6.87 down to 1.92 MiB, as activations grow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator

ON_CHIP_BYTES = 8 << 20
_SIZES = {"FLOAT32": 4, "INT32": 4, "INT16": 2, "INT64": 8, "FLOAT16": 2}


@dataclass(frozen=True)
class MemoryPlan:
    """Sizes in bytes. resident, streamed: kernels and the bytes of their parameters, in order of execution."""

    capacity_bytes: int
    activation_bytes: int
    resident: tuple[tuple[str, int], ...]
    streamed: tuple[tuple[str, int], ...]

    @property
    def resident_bytes(self) -> int:
        return sum(size for _, size in self.resident)

    @property
    def streamed_bytes(self) -> int:
        return sum(size for _, size in self.streamed)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {
            "capacity_bytes": self.capacity_bytes,
            "activation_bytes": self.activation_bytes,
            "parameter_bytes": self.resident_bytes + self.streamed_bytes,
            "resident_bytes": self.resident_bytes,
            "streamed_bytes": self.streamed_bytes,
            "streamed": [name for name, _ in self.streamed],
        }


def plan_memory(
    graph: TfliteGraph, owners: Sequence[str], mapped: Sequence[bool], capacity_bytes: int = ON_CHIP_BYTES
) -> MemoryPlan:
    """The plan for the operators of `graph` that are `mapped`; owners: the kernel of each operator."""
    chosen = [operator for operator, taken in zip(graph.operators, mapped, strict=True) if taken]
    activation_bytes = widest_moment(graph, chosen)
    room = max(0, capacity_bytes - activation_bytes)
    resident: list[tuple[str, int]] = []
    streamed: list[tuple[str, int]] = []
    for operator in chosen:
        size = _parameter_bytes(graph, operator)
        fits = not streamed and size <= room
        if size:
            (resident if fits else streamed).append((owners[operator.index], size))
        room -= size if fits else 0
    return MemoryPlan(capacity_bytes, activation_bytes, tuple(resident), tuple(streamed))


def widest_moment(graph: TfliteGraph, operators: Sequence[TfliteOperator]) -> int:
    """The most bytes of activations that are alive while one of `operators` runs, in their order."""
    last = {index: place for place, operator in enumerate(operators) for index in operator.inputs}
    last |= dict.fromkeys(graph.outputs, len(operators))
    alive = {index for index in graph.inputs if index in last}
    widest = 0
    for place, operator in enumerate(operators):
        alive |= {index for index in (*operator.inputs, *operator.outputs) if _is_activation(graph, index)}
        widest = max(widest, sum(tensor_bytes(graph, index) for index in alive))
        alive = {index for index in alive if last.get(index, -1) > place}
    return widest


def tensor_bytes(graph: TfliteGraph, index: int) -> int:
    """Size of one tensor."""
    tensor = graph.tensors[index]
    return prod(tensor.shape) * _SIZES.get(tensor.type, 1)


def _is_activation(graph: TfliteGraph, index: int) -> bool:
    return index >= 0 and graph.tensors[index].data is None


def _parameter_bytes(graph: TfliteGraph, operator: TfliteOperator) -> int:
    """Weights and biases; the shapes and axes that other operators read are part of the instructions."""
    if operator.kind not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        return 0
    return sum(tensor_bytes(graph, index) for index in operator.inputs[1:] if index >= 0)

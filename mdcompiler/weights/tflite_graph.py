"""The graph of a `.tflite` file as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True)
class TfliteTensor:
    """shape and data in the file's layout; type: the schema's word, e.g. UINT8; scales is empty when not quantized.

    axis: the dimension that several scales run along. data: None for activations.
    """

    name: str
    shape: tuple[int, ...]
    type: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    data: NDArray[Any] | None = None


@dataclass(frozen=True)
class TfliteOperator:
    """kind: the schema's word (CONV_2D), or the custom operator's name. Tensors are numbers in the graph; -1: none.

    stride, dilation: (height, width). padding: SAME or VALID. activation: fused into it, NONE, RELU, RELU6 …
    axis: of a concatenation. version: of the operator, as the file states it.
    """

    index: int
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "SAME"
    activation: str = "NONE"
    custom_options: bytes = b""
    axis: int = 0
    version: int = 1


@dataclass(frozen=True)
class TfliteGraph:
    """The first subgraph of the file at `path`. subgraphs: how many the file has."""

    path: Path
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[TfliteOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int = 1

    @cached_property
    def producers(self) -> dict[int, TfliteOperator]:
        """Tensor -> the operator that makes it."""
        return {tensor: operator for operator in self.operators for tensor in operator.outputs}

    @cached_property
    def consumers(self) -> dict[int, list[TfliteOperator]]:
        """Tensor -> the operators that read it, in the file's order; absent when there are none."""
        found: dict[int, list[TfliteOperator]] = {}
        for operator in self.operators:
            for tensor in dict.fromkeys(operator.inputs):
                found.setdefault(tensor, []).append(operator)
        return found

    def constant(self, index: int) -> TfliteTensor | None:
        """The constant that tensor `index` is, or is the float16 original of; None when it is computed."""
        source = self.producers.get(index)
        if source is not None and source.kind == "DEQUANTIZE":
            index = source.inputs[0]
        tensor = self.tensors[index] if index >= 0 else None
        return tensor if tensor is not None and tensor.data is not None else None

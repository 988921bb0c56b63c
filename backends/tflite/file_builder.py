"""Collects the tensors and operators of a file, and knows where each tensor of ours is stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.tflite.options import lowest_version
from mdcompiler.backends.tflite.storage import Stored, natural_order, reordering, stored_shape
from mdcompiler.quantization.steps import Port
from mdcompiler.weights.quantization import Quantization
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator, TfliteTensor

Array = NDArray[Any]
_WORDS = {"float32": "FLOAT32", "int8": "INT8", "uint8": "UINT8", "int32": "INT32", "int16": "INT16"}


class FileBuilder:
    """stored: our tensor's name -> where it lies."""

    def __init__(self) -> None:
        self.tensors: list[TfliteTensor] = []
        self.operators: list[TfliteOperator] = []
        self.stored: dict[str, Stored] = {}
        self._constants: dict[tuple[str, bytes], int] = {}

    def graph(self, inputs: Sequence[int], outputs: Sequence[int], name: str) -> TfliteGraph:
        """What was collected. name: of the file that it will be."""
        return TfliteGraph(Path(name), tuple(self.tensors), tuple(self.operators), tuple(inputs), tuple(outputs))

    def place(self, port: Port, order: tuple[int, ...] | None = None) -> int:
        """A new tensor for the integers of `port`, stored in `order`; its number."""
        order = order or natural_order(len(port.shape))
        index = self.add(port.name, stored_shape(port.shape, order), port.dtype, port.quantization)
        self.stored[port.name] = Stored(index, order)
        return index

    def place_float(self, name: str, shape: Sequence[int], order: tuple[int, ...]) -> int:
        """A new float tensor of our `shape`, stored in `order`; its number."""
        index = self.add(name, stored_shape(shape, order), "float32")
        self.stored[name] = Stored(index, order)
        return index

    def add(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str,
        quantization: Quantization | None = None,
        data: Array | None = None,
        axis: int = 0,
    ) -> int:
        """A tensor of the file. shape, data, axis: in the file's layout."""
        scales, zeros = (quantization.scale, quantization.zero_point) if quantization else ((), ())
        self.tensors.append(TfliteTensor(name, tuple(shape), _WORDS[dtype], scales, zeros, axis, data))
        return len(self.tensors) - 1

    def integers(self, name: str, values: Sequence[int] | Sequence[Sequence[int]]) -> int:
        """A constant of int32, shared by all operators that need the same."""
        data = np.array(values, np.int32)
        key = (str(data.shape), data.tobytes())
        if key not in self._constants:
            self._constants[key] = self.add(name, data.shape, "int32", data=data)
        return self._constants[key]

    def operate(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any) -> None:
        """Append an operator, in the lowest version that reads its first input."""
        version = lowest_version(kind, self.tensors[inputs[0]].type)
        number = len(self.operators)
        self.operators.append(TfliteOperator(number, kind, tuple(inputs), tuple(outputs), version=version, **options))

    def read(self, name: str, shape: Sequence[int], order: tuple[int, ...] | None = None) -> int:
        """The number of the tensor that holds our tensor `name` in `order`, transposed where it lies otherwise."""
        held = self.stored[name]
        order = order or natural_order(len(shape))
        if stored_shape(shape, held.order) == stored_shape(shape, order) and _same(shape, held.order, order):
            return held.index
        return self._transpose(held, shape, order)

    def _transpose(self, held: Stored, shape: Sequence[int], order: tuple[int, ...]) -> int:
        source = self.tensors[held.index]
        moved = TfliteTensor(
            f"{source.name}/transposed", stored_shape(shape, order), source.type, source.scales, source.zero_points
        )
        self.tensors.append(moved)
        made = len(self.tensors) - 1
        permutation = reordering(held.order, order)
        self.operate("TRANSPOSE", [held.index, self.integers(f"{moved.name}/permutation", permutation)], [made])
        return made


def _same(shape: Sequence[int], first: Sequence[int], second: Sequence[int]) -> bool:
    """Whether both orders put the axes that have more than one element in the same sequence."""
    return [axis for axis in first if shape[axis] > 1] == [axis for axis in second if shape[axis] > 1]

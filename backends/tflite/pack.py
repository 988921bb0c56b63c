"""From a `TfliteGraph` to the bytes of a `.tflite` file, with the object API of LiteRT's schema.

One subgraph, every shape written out, equal operators share a code. Constants start at multiples of 16 bytes as the
schema demands (`force_align: 16`); the object API alone does not see to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mdcompiler.backends.tflite.litert import schema
from mdcompiler.backends.tflite.options import builtin_options
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator, TfliteTensor

_IDENTIFIER = b"TFL3"
_FORMAT_VERSION = 3
_ALIGNMENT_BYTES = 16
_LARGEST_SHORT_CODE = 127
"""Readers older than format version 3a know operators by 8 bits; this number sends them to the wide field."""
DESCRIPTION = "mdcompiler"


def pack(graph: TfliteGraph, metadata: Mapping[str, bytes] | None = None) -> bytes:
    """The file that holds `graph`. metadata: entries by name, e.g. `TFLITE_METADATA`.

    Raises MissingToolError when ai-edge-litert is not installed.
    """
    import flatbuffers

    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(_Packer(schema(), metadata or {}).model(graph).Pack(builder), _IDENTIFIER)
    return bytes(builder.Output())


class _Packer:
    def __init__(self, classes: Any, metadata: Mapping[str, bytes]) -> None:
        self.classes = classes
        self.metadata = metadata
        self.buffers: list[Any] = [classes.BufferT()]  # number 0 is every tensor's that is no constant
        self.codes: dict[tuple[str, int], Any] = {}

    def model(self, graph: TfliteGraph) -> Any:
        part = self.classes.SubGraphT()
        part.name = "main"
        part.tensors = [self._tensor(tensor) for tensor in graph.tensors]
        part.operators = [self._operator(operator, graph) for operator in graph.operators]
        part.inputs, part.outputs = list(graph.inputs), list(graph.outputs)
        model = self.classes.ModelT()
        model.version, model.description, model.subgraphs = _FORMAT_VERSION, DESCRIPTION, [part]
        model.operatorCodes = list(self.codes.values())
        model.metadata = [self._metadata(name, content) for name, content in self.metadata.items()]
        model.buffers = self.buffers
        return model

    def _tensor(self, tensor: TfliteTensor) -> Any:
        made = self.classes.TensorT()
        made.name, made.shape, made.hasRank = tensor.name, list(tensor.shape), True
        made.type = getattr(self.classes.TensorType, tensor.type)
        made.buffer = 0 if tensor.data is None else self._buffer(tensor.data.tobytes())
        if tensor.scales:
            made.quantization = self.classes.QuantizationParametersT()
            made.quantization.scale = np.array(tensor.scales, np.float32)
            made.quantization.zeroPoint = np.array(tensor.zero_points, np.int64)
            made.quantization.quantizedDimension = tensor.axis
        return made

    def _buffer(self, content: bytes) -> int:
        self.buffers.append(_aligned_buffer(self.classes, content))
        return len(self.buffers) - 1

    def _operator(self, operator: TfliteOperator, graph: TfliteGraph) -> Any:
        made = self.classes.OperatorT()
        made.opcodeIndex = self._code(operator)
        made.inputs, made.outputs = list(operator.inputs), list(operator.outputs)
        if operator.custom_options:
            made.customOptions = np.frombuffer(operator.custom_options, np.uint8)
        else:
            kind, options = builtin_options(self.classes, operator, graph)
            made.builtinOptionsType, made.builtinOptions = kind, options
        return made

    def _code(self, operator: TfliteOperator) -> int:
        key = (operator.kind, operator.version)
        if key not in self.codes:
            self.codes[key] = self._new_code(operator)
        return list(self.codes).index(key)

    def _new_code(self, operator: TfliteOperator) -> Any:
        made = self.classes.OperatorCodeT()
        kinds = self.classes.BuiltinOperator
        made.builtinCode = getattr(kinds, operator.kind, kinds.CUSTOM)
        if made.builtinCode == kinds.CUSTOM:
            made.customCode = operator.kind
        made.deprecatedBuiltinCode = min(made.builtinCode, _LARGEST_SHORT_CODE)
        made.version = operator.version
        return made

    def _metadata(self, name: str, content: bytes) -> Any:
        made = self.classes.MetadataT()
        made.name, made.buffer = name, self._buffer(content)
        return made


def _aligned_buffer(classes: Any, content: bytes) -> Any:
    """A buffer whose content starts at a multiple of 16 bytes."""

    class Aligned(classes.BufferT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> Any:  # noqa: N802 - the generated code calls it so
            builder.StartVector(1, len(content), _ALIGNMENT_BYTES)
            start = builder.Head() - len(content)
            builder.head = start
            builder.Bytes[start : start + len(content)] = content
            vector = builder.EndVector()
            classes.BufferStart(builder)
            classes.BufferAddData(builder, vector)
            return classes.BufferEnd(builder)

    return Aligned()

"""From a `.tflite` file to plain tensors and operators.

The file is a flatbuffer, read with the schema of the ai-edge-litert package. That reader trusts what it reads
and meets garbage with any of Python's exceptions, so everything is copied into the types of `tflite_graph` in one
guarded place, counts are bounded, and nothing else ever sees the buffer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import MissingToolError, WeightsError
from mdcompiler.weights.bounded import MAX_RANK, MAX_TENSORS, element_count, read_bounded
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator, TfliteTensor

_IDENTIFIER = b"TFL3"
_MOST_CONNECTIONS = 4096
_MOST_SHARED_BYTES = 1 << 28
_DTYPES = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "INT64": "<i8",
    "INT32": "<i4",
    "INT16": "<i2",
    "INT8": "|i1",
    "UINT8": "|u1",
}
_OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "ADD": "AddOptions",
    "CONCATENATION": "ConcatenationOptions",
}
"""The operators whose options are read, and the options' table."""


def read_graph(path: Path) -> TfliteGraph:
    """The graph in the `.tflite` file at `path`.

    Raises WeightsError when it is no sound TFLite file, MissingToolError when ai-edge-litert is not installed.
    """
    data = read_bounded(path)
    if data[4:8] != _IDENTIFIER:
        raise WeightsError(
            f"reading weights: {path} is no TFLite file: its bytes 4 to 8 are {data[4:8]!r}, not b'TFL3'."
        )
    schema = _schema()
    try:
        return _Reader(schema, data, path).graph()
    except WeightsError:
        raise
    except Exception as error:  # whatever the generated reader meets in garbage is the file's fault
        raise WeightsError(
            f"reading weights: {path} is a damaged TFLite file ({type(error).__name__}: {error}). Copy it again."
        ) from None


def _schema() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError:
        raise MissingToolError(
            "reading weights from a .tflite file needs the package ai-edge-litert: pip install mdcompiler[tflite]"
        ) from None
    return schema_py_generated


class _Reader:
    """Copies one flatbuffer. Any exception may leave it."""

    def __init__(self, schema: Any, data: bytes, path: Path) -> None:
        self.schema = schema
        self.path = path
        self.model = schema.Model.GetRootAs(data, 0)
        self.types = _words(schema.TensorType)
        self.kinds = _words(schema.BuiltinOperator)
        self.activations = _words(schema.ActivationFunctionType)
        self.paddings = _words(schema.Padding)
        self.left_bytes = len(data) + _MOST_SHARED_BYTES

    def graph(self) -> TfliteGraph:
        graph = self.model.Subgraphs(0)
        tensors = tuple(self._tensor(graph.Tensors(index)) for index in range(_bounded(graph.TensorsLength())))
        operators = tuple(
            self._operator(index, graph.Operators(index), len(tensors))
            for index in range(_bounded(graph.OperatorsLength()))
        )
        inputs, outputs = (_indices(ends, len(tensors)) for ends in (graph.InputsAsNumpy(), graph.OutputsAsNumpy()))
        return TfliteGraph(self.path, tensors, operators, inputs, outputs, int(self.model.SubgraphsLength()))

    def _tensor(self, tensor: Any) -> TfliteTensor:
        name = (tensor.Name() or b"").decode(errors="replace")[:1000]
        shape = tuple(int(tensor.Shape(index)) for index in range(_bounded(tensor.ShapeLength(), MAX_RANK)))
        word = self.types[tensor.Type()]
        data = self._data(self.model.Buffers(tensor.Buffer()), word, shape)
        scales, zero_points, axis = _quantization(tensor.Quantization())
        return TfliteTensor(name, shape, word, scales, zero_points, axis, data)

    def _data(self, buffer: Any, word: str, shape: tuple[int, ...]) -> NDArray[Any] | None:
        if buffer.DataLength() == 0 or word not in _DTYPES:
            return None
        dtype, count = np.dtype(_DTYPES[word]), element_count(shape)
        raw = buffer.DataAsNumpy()
        self._spend(raw.size)
        if count is None or count * dtype.itemsize != raw.size:
            raise ValueError(f"a tensor of {word} {list(shape)} in {raw.size} bytes")
        return np.frombuffer(raw.tobytes(), dtype).reshape(shape)

    def _operator(self, index: int, operator: Any, tensors: int) -> TfliteOperator:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        # files older than schema version 3a have only the 8-bit code
        kind = self.kinds[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        custom = b""
        if kind == "CUSTOM":
            kind = code.CustomCode().decode(errors="replace")[:1000]
            self._spend(operator.CustomOptionsLength())
            custom = operator.CustomOptionsAsNumpy().tobytes() if operator.CustomOptionsLength() else b""
        self._spend(4 * (operator.InputsLength() + operator.OutputsLength()))
        inputs = _indices(operator.InputsAsNumpy(), tensors, lowest=-1)
        outputs = _indices(operator.OutputsAsNumpy(), tensors)
        options = self._options(kind, operator)
        version = int(code.Version())
        return TfliteOperator(index, kind, inputs, outputs, custom_options=custom, version=version, **options)

    def _spend(self, size: int) -> None:
        """Many tensors may point to one buffer, and each copies it."""
        self.left_bytes -= size
        if self.left_bytes < 0:
            raise ValueError("its tensors and options overlap, and are far larger together than the file")

    def _options(self, kind: str, operator: Any) -> dict[str, Any]:
        bare = kind == "CONCATENATION" and operator.BuiltinOptionsType() == self.schema.BuiltinOptions.NONE
        if kind not in _OPTIONS or bare:
            return {}
        if operator.BuiltinOptionsType() != getattr(self.schema.BuiltinOptions, _OPTIONS[kind]):
            raise ValueError(f"{kind} without its options")
        options, table = getattr(self.schema, _OPTIONS[kind])(), operator.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        found = {"activation": self.activations[options.FusedActivationFunction()]}
        if kind == "CONCATENATION":
            return {**found, "axis": int(options.Axis())}
        if kind == "ADD":
            return found
        return {
            **found,
            "stride": (int(options.StrideH()), int(options.StrideW())),
            "dilation": (int(options.DilationHFactor()), int(options.DilationWFactor())),
            "padding": self.paddings[options.Padding()],
        }


def _words(enumeration: Any) -> dict[int, str]:
    return {value: word for word, value in vars(enumeration).items() if isinstance(value, int)}


def _bounded(count: int, limit: int = MAX_TENSORS) -> int:
    if count > limit:
        raise ValueError(f"{count} entries where at most {limit} are allowed")
    return count


def _indices(array: Any, tensors: int, lowest: int = 0) -> tuple[int, ...]:
    """Numbers of tensors, at least one. `lowest` is -1 where a tensor may be left out; never the first."""
    # the reader gives the number 0 for an absent list
    found = () if isinstance(array, int) else tuple(int(index) for index in array[: _MOST_CONNECTIONS + 1])
    if not 0 < len(found) <= _MOST_CONNECTIONS or found[0] < 0:
        raise ValueError(f"an operator or graph with {len(found)} tensors at one end")
    if not all(lowest <= index < tensors for index in found):
        raise ValueError(f"tensors {min(found)} to {max(found)} where 0 to {tensors - 1} exist")
    return found


def _quantization(parameters: Any) -> tuple[tuple[float, ...], tuple[int, ...], int]:
    if parameters is None or parameters.ScaleLength() == 0:
        return (), (), 0
    scales = parameters.ScaleAsNumpy()
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ValueError("a quantization scale that is no positive number")
    zeros = parameters.ZeroPointAsNumpy() if parameters.ZeroPointLength() else np.zeros(scales.size, np.int64)
    if zeros.size != scales.size or int(np.abs(zeros).max()) > 2**31:
        raise ValueError(f"{zeros.size} zero points for {scales.size} scales")
    axis = int(parameters.QuantizedDimension())
    return tuple(float(scale) for scale in scales), tuple(int(zero) for zero in zeros), axis

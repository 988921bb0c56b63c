"""Writes the network of a spec as a `.tflite` file, as converters do, for the tests of the reader.

Batch normalisation is folded, weights are random integers (or floats), names say nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from numpy.typing import NDArray

from mdcompiler.spec import Spec, build_network
from mdcompiler.spec.steps import Add, Conv, SqueezeExcite, Step

Array = NDArray[Any]
_ACTIVATIONS = {"none": 0, "relu": 1, "relu6": 3}


@dataclass
class Written:
    """What a reader must find: real weights (OIHW) and folded biases by path; activation scales by our names."""

    weights: dict[str, Array] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    anchors: Array | None = None


class TfliteWriter:
    """dtype: uint8 (one scale a tensor), int8 (one a channel), float32 or float16 (behind DEQUANTIZE)."""

    def __init__(self, spec: Spec, dtype: str = "uint8", postprocess: dict[str, Any] | None = None) -> None:
        self.spec, self.dtype = spec, dtype
        self.rng = np.random.default_rng(0)
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: list[Any] = []
        self.buffers = [_buffer(None)]
        self.written = Written()
        self.known: dict[str, int] = {}
        self._network(postprocess if postprocess is not None else POSTPROCESS)

    def save(self, path: Path) -> Written:
        """Write the file."""
        graph, model = schema.SubGraphT(), schema.ModelT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = self.tensors, self.operators, [0], self.outputs
        model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, self.codes, [graph], self.buffers
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        path.write_bytes(bytes(builder.Output()))
        return self.written

    def _network(self, postprocess: dict[str, Any]) -> None:
        network = build_network(self.spec)
        image = network.backbone[0].steps[0].source
        self.known[image.name] = self._activation(image.name, (1, *image.size, 3))
        for step in network.steps:
            self._step(step)
        boxes = self._concat(network, "box", 4, "head/concat_boxes")
        scores = self._concat(network, "class", self.spec.head.class_slots, "head/concat_scores")
        boxes = self._apply("RESHAPE", [boxes], self._activation(None, (1, network.anchor_count, 4)))
        shape = (1, network.anchor_count, self.spec.head.class_slots)
        scores = self._apply("LOGISTIC", [scores], self._activation("head/sigmoid", shape))
        self.outputs = [boxes, scores]
        if postprocess:
            self._postprocess(postprocess, network.anchor_count)

    def _step(self, step: Step) -> None:
        if isinstance(step, Conv):
            self._conv(step)
        elif isinstance(step, Add):
            ends = [self.known[step.shortcut.name], self.known[step.source.name]]
            self._apply("ADD", ends, self._output(step.output), _options("AddOptions"))
        elif isinstance(step, SqueezeExcite):
            source = self.known[step.source.name]
            self._apply("MEAN", [source], self._output(step.pooled))
            self._conv(step.reduce)
            self._conv(step.expand)
            gate = self._activation(f"{step.path}/gate", (1, 1, 1, step.source.channels))
            self._apply("LOGISTIC", [self.known[step.expand.output.name]], gate)
            self._apply("MUL", [source, gate], self._output(step.output))

    def _conv(self, step: Conv) -> None:
        kind = "DEPTHWISE_CONV_2D" if step.depthwise else "CONV_2D"
        options = _options("DepthwiseConv2DOptions" if step.depthwise else "Conv2DOptions")
        options.strideH = options.strideW = step.stride
        if step.depthwise:
            options.depthMultiplier = 1
        options.fusedActivationFunction = _ACTIVATIONS.get(step.activation, 0)
        inputs = [self.known[step.source.name], self._weight(step), self._bias(step)]
        if step.activation in _ACTIVATIONS:
            self._apply(kind, inputs, self._output(step.output), options)
            return
        name = f"{step.path}/{'conv' if step.epsilon is None else 'bn'}"
        linear = self._activation(name, (1, *step.output.size, step.channels))
        self._apply(kind, inputs, linear, options)
        self._apply("HARD_SWISH", [linear], self._output(step.output))

    def _weight(self, step: Conv) -> int:
        order = (1, 2, 3, 0) if step.depthwise else (0, 2, 3, 1)
        name = f"{step.path}/weight"
        if self.dtype.startswith("float"):
            values = self.rng.standard_normal(step.weight_shape).astype(self.dtype)
            self.written.weights[name] = values.astype(np.float32)
            return self._constant(np.ascontiguousarray(values.transpose(order)))
        info = np.iinfo(self.dtype)
        integers = self.rng.integers(info.min, info.max + 1, step.weight_shape, dtype=self.dtype)
        count = step.channels if self.dtype == "int8" else 1
        scales = self.rng.uniform(0.001, 0.01, count).astype(np.float32)
        zeros = np.zeros(count, np.int64) if self.dtype == "int8" else self.rng.integers(90, 160, 1)
        shifted = integers.astype(np.int64) - zeros.reshape(-1, 1, 1, 1)
        self.written.weights[name] = np.asarray(shifted * scales.astype(np.float64).reshape(-1, 1, 1, 1), np.float32)
        data = np.ascontiguousarray(integers.transpose(order))
        return self._constant(data, scales, zeros, axis=3 if step.depthwise else 0)

    def _bias(self, step: Conv) -> int:
        name = f"{step.path}/bias"
        if self.dtype.startswith("float"):
            values = self.rng.standard_normal(step.channels).astype(self.dtype)
            self.written.weights[name] = values.astype(np.float32)
            return self._constant(values)
        integers = self.rng.integers(-5000, 5000, step.channels, dtype=np.int32)
        scale = np.float32(0.0003)
        self.written.weights[name] = np.asarray(integers * float(scale), np.float32)
        return self._constant(integers, np.array([scale]), np.zeros(1, np.int64))

    def _concat(self, network: Any, branch: str, slots: int, name: str) -> int:
        parts = []
        for index, level in enumerate(network.levels):
            source = self.known[f"head/l{index}/{branch}/pw/conv"]
            shape = (1, level.box.boxes, slots)
            parts.append(self._apply("RESHAPE", [source], self._activation(None, shape)))
        return self._apply("CONCATENATION", parts, self._activation(name, (1, network.anchor_count, slots)))

    def _postprocess(self, options: dict[str, Any], anchors: int) -> None:
        integers = self.rng.integers(0, 200, (anchors, 4), dtype=np.uint8)
        self.written.anchors = np.asarray(integers * float(np.float32(0.01)), np.float32)
        constant = self._constant(integers, np.array([0.01], np.float32), np.zeros(1, np.int64))
        outputs = [self._activation(None, ()) for _ in range(4)]
        operator = self._operator("CUSTOM", [*self.outputs, constant], outputs)
        self.codes[operator.opcodeIndex].customCode = "TFLite_Detection_PostProcess"
        operator.customOptions = list(flexbuffers.Dumps(options))
        self.outputs = outputs

    def _output(self, tensor: Any) -> int:
        index = self._activation(tensor.name, (1, *tensor.size, tensor.channels))
        self.known[tensor.name] = index
        return index

    def _activation(self, name: str | None, shape: tuple[int, ...]) -> int:
        if self.dtype.startswith("float"):
            return self._tensor(shape, "FLOAT32")
        scale = np.float32(self.rng.uniform(0.01, 0.1))
        if name is not None:
            self.written.scales[name] = float(scale)
        index = self._tensor(shape, self.dtype.upper(), np.array([scale]), np.array([3]))
        if name is not None:
            self.known[name] = index
        return index

    def _constant(self, data: Array, scales: Array | None = None, zeros: Array | None = None, axis: int = 0) -> int:
        index = self._tensor(data.shape, data.dtype.name.upper(), scales, zeros, axis)
        self.tensors[index].buffer = len(self.buffers)
        self.buffers.append(_buffer(data))
        if data.dtype != np.float16:
            return index
        return self._apply("DEQUANTIZE", [index], self._tensor(data.shape, "FLOAT32"))

    def _tensor(
        self, shape: tuple[int, ...], word: str, scales: Array | None = None, zeros: Array | None = None, axis: int = 0
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = f"t{len(self.tensors)}", list(shape), getattr(schema.TensorType, word)
        tensor.buffer = 0
        if scales is not None and zeros is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = scales, zeros
            tensor.quantization.quantizedDimension = axis
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _apply(self, kind: str, inputs: list[int], output: int, options: Any = None) -> int:
        self._operator(kind, inputs, [output], options)
        return output

    def _operator(self, kind: str, inputs: list[int], outputs: list[int], options: Any = None) -> Any:
        operator, code = schema.OperatorT(), schema.OperatorCodeT()
        operator.inputs, operator.outputs, operator.opcodeIndex = inputs, outputs, len(self.codes)
        if options is not None:
            word = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType, operator.builtinOptions = getattr(schema.BuiltinOptions, word), options
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        self.operators.append(operator)
        self.codes.append(code)
        return operator


POSTPROCESS: dict[str, Any] = {
    "max_detections": 7,
    "max_classes_per_detection": 1,
    "detections_per_class": 50,
    "use_regular_nms": True,
    "num_classes": 3,
    "nms_score_threshold": 0.25,
    "nms_iou_threshold": 0.5,
    "y_scale": 10.0,
    "x_scale": 10.0,
    "h_scale": 5.0,
    "w_scale": 5.0,
}


def _options(name: str) -> Any:
    return getattr(schema, f"{name}T")()


def _buffer(data: Array | None) -> Any:
    buffer = schema.BufferT()
    if data is not None:
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
    return buffer

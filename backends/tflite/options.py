"""The options and versions of the operators that are written.

Versions are the lowest that mean what is written: the Edge TPU compiler 16.0 is years older than today's converters
and refuses files with newer ones (CONV_2D version 6, for one). What it takes was read from files it has compiled:
uint8 CONV_2D 1, DEPTHWISE_CONV_2D 1, ADD 1; int8 CONV_2D 3, DEPTHWISE_CONV_2D 3, ADD 2, LOGISTIC 2, CONCATENATION 2.
"""

from __future__ import annotations

from typing import Any

from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator

_OPTION_TABLES = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "RESHAPE": "ReshapeOptions",
    "MEAN": "ReducerOptions",
    "PAD": "PadOptions",
    "TRANSPOSE": "TransposeOptions",
    "QUANTIZE": "QuantizeOptions",
    "DEQUANTIZE": "DequantizeOptions",
}
"""LOGISTIC, RELU and RELU6 have none."""

_SIGNED_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "ADD": 2,
    "MUL": 2,
    "CONCATENATION": 2,
    "LOGISTIC": 2,
    "RELU": 2,
    "RELU6": 2,
    "MEAN": 2,
    "PAD": 2,
    "TRANSPOSE": 2,
    "DEQUANTIZE": 2,
}
"""The first version that takes int8; version 1 takes uint8 and float32 (tensorflow/lite/tools/versioning)."""


def lowest_version(kind: str, dtype: str) -> int:
    """The lowest version of the operator `kind` that reads tensors of `dtype`, a word of the schema."""
    return _SIGNED_VERSIONS.get(kind, 1) if dtype == "INT8" else 1


def builtin_options(classes: Any, operator: TfliteOperator, graph: TfliteGraph) -> tuple[int, Any]:
    """The number and the content of `operator`'s option table; (0, None) when it has none."""
    table = _OPTION_TABLES.get(operator.kind)
    if table is None:
        return classes.BuiltinOptions.NONE, None
    options = getattr(classes, f"{table}T")()
    _fill(classes, options, operator, graph)
    return getattr(classes.BuiltinOptions, table), options


def _fill(classes: Any, options: Any, operator: TfliteOperator, graph: TfliteGraph) -> None:
    if hasattr(options, "fusedActivationFunction"):
        options.fusedActivationFunction = getattr(classes.ActivationFunctionType, operator.activation)
    if hasattr(options, "strideH"):
        options.strideH, options.strideW = operator.stride
        options.dilationHFactor, options.dilationWFactor = operator.dilation
        options.padding = getattr(classes.Padding, operator.padding)
    if operator.kind == "DEPTHWISE_CONV_2D":
        source, made = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
        options.depthMultiplier = made.shape[3] // source.shape[3]
    elif operator.kind == "CONCATENATION":
        options.axis = operator.axis
    elif operator.kind == "RESHAPE":
        options.newShape = list(graph.tensors[operator.outputs[0]].shape)
    elif operator.kind == "MEAN":
        options.keepDims = True

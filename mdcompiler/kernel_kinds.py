"""The kinds of kernel, in one list: what marks a kernel, what a backend may have a template for."""

from __future__ import annotations

KINDS: dict[str, str] = {
    "stem": "a convolution with the preprocessing of the picture inside: uint8 NHWC in, float32 NCHW out",
    "pointwise": "a 1x1 convolution in one group, any stride, with its epilogue",
    "depthwise": "a convolution with one filter for each channel, with its epilogue",
    "conv": "a regular two-dimensional convolution in one group, with its epilogue",
    "grouped_conv": "a convolution in several groups that is not depthwise, with its epilogue",
    "squeeze_excite": "global pooling, two 1x1 convolutions, a gate and the product with the gate",
    "head": "a convolution whose result is transposed to NHWC and reshaped to rows of the detector's output",
    "add": "the sum of two tensors of equal shape",
    "pool": "a pooling over windows or over the whole picture",
    "elementwise": "one operation on every element, operands broadcast",
    "concat": "a concatenation",
    "view": "the same values in the same order under another shape",
    "postprocess": "an operator of the domain `mdc` that turns raw outputs into detections",
    "quantize": "float numbers to integers, where a float kernel meets an integer one",
    "dequantize": "integers to float numbers, where an integer kernel meets a float one",
    "generic": "everything else",
}

CONVOLUTIONS = ("stem", "pointwise", "depthwise", "conv", "grouped_conv", "head")
"""Kinds whose kernel holds one convolution and the epilogue that `mdcompiler.epilogue` reads."""

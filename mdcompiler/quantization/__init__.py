"""Integers instead of floats: schemes, scales and zero points, rounding, and the integer reference.

A quantized network is an ordinary ONNX graph with QuantizeLinear and DequantizeLinear nodes ("QDQ"). Three
things read it the same way, through `mdcompiler.quantization.steps`: the integer reference, the backends and
`check_quantized`.
"""

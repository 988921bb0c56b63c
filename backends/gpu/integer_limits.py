"""Which quantized kernels a GPU has a template for, and why not the others."""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.kernels.read_integer import check_integer
from mdcompiler.backends.kernels.read_kernel import NoTemplate, read_geometry
from mdcompiler.kernel import Kernel
from mdcompiler.quantization.steps import Step, affine, is_integer, read_steps

ROUNDING: Final = "fixed-point-single"
"""What `integer_ending` computes: networks quantized for any other rounding are refused."""


def check_bytes(kernel: Kernel) -> None:
    """Raise NoTemplate with the reason when no integer template computes `kernel`: quantized, a border or a layout."""
    _check_ends(kernel)
    if kernel.kind in ("quantize", "dequantize"):
        _check_border(kernel)
    elif is_integer(kernel):
        check_integer(kernel)
        for step in read_steps(kernel):
            if step.operation == "conv":
                _check_conv(kernel, step)


def _check_ends(kernel: Kernel) -> None:
    """Bytes lie one by one only in a picture: elsewhere a plain tensor of them has a word for each."""
    read = [tensor.name for tensor in kernel.inputs if _is_bytes(tensor) and not tensor.inputs]
    if read and kernel.kind != "stem":
        raise NoTemplate(f"the bytes {read[0]} of the caller are read by no picture's convolution.")
    left = [tensor.name for tensor in kernel.outputs if _is_bytes(tensor) and not tensor.outputs]
    if left:
        raise NoTemplate(f"the bytes {left[0]} leave the network; results are float32.")


def _is_bytes(tensor: gs.Variable) -> bool:
    return bool(np.dtype(tensor.dtype) == np.uint8)


def _check_conv(kernel: Kernel, step: Step) -> None:
    assert step.weights is not None
    assert step.node is not None
    weight = step.weights.centred
    if weight.min() < -128 or weight.max() > 127:
        raise NoTemplate("weights less their zero point exceed int8; quantize with the scheme gpu.")
    if kernel.kind == "stem" and weight.shape[1] > LANES:
        raise NoTemplate(f"a picture of {weight.shape[1]} channels; up to {LANES} are there.")
    if kernel.kind == "depthwise" and weight.shape[1] != 1:
        raise NoTemplate(f"a depthwise convolution of {weight.shape[1]} channels a group; 1 has a template.")
    read_geometry(step.node)


def _check_border(kernel: Kernel) -> None:
    node = kernel.nodes[0]
    quantization = affine(node)
    if quantization.axis is not None or quantization.dtype != "uint8":
        raise NoTemplate(f"{quantization.dtype} with {len(quantization.scale)} scales; the template has one, uint8.")
    if np.dtype(node.inputs[1].dtype) != np.float32:
        raise NoTemplate(f"a scale of type {np.dtype(node.inputs[1].dtype)}; float32 has a template.")

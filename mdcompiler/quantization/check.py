"""The promise of the quantize stage: one scale and zero point a tensor, float islands listed by name."""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.quantization.affine import bounds, clamp_integers
from mdcompiler.quantization.no_wrap import check_no_wrap
from mdcompiler.quantization.steps import DEQUANTIZE, QUANTIZE, Step, affine, is_integer, read_steps
from mdcompiler.weights.quantization import Quantization


def check_quantized(graph: gs.Graph) -> list[str]:
    """The kernels of `graph` that compute in float, in order.

    Raises UnsupportedError naming the place when a tensor has two scales or one that is no positive number, an
    integer kernel holds a node outside of any integer operation, numbers are moved between different scales, a clamp
    has a bound that saturation makes redundant, or an accumulator may wrap.
    """
    _check_tensors(graph)
    found = kernels(graph)
    islands = []
    for kernel in found:
        if is_integer(kernel):
            _check_kernel(kernel)
        elif kernel.kind not in ("quantize", "dequantize"):
            islands.append(kernel.name)
    return islands


def _check_tensors(graph: gs.Graph) -> None:
    seen: dict[str, Quantization] = {}
    for node in graph.nodes:
        if node.op not in (QUANTIZE, DEQUANTIZE):
            continue
        if len(node.inputs) < 3 or not all(isinstance(tensor, gs.Constant) for tensor in node.inputs[1:]):
            raise _violation(node.name, "has no constant scale and zero point")
        tensor = node.outputs[0] if node.op == QUANTIZE else node.inputs[0]
        found = affine(node)
        if not all(scale > 0 and math.isfinite(scale) for scale in found.scale):
            raise _violation(node.name, f"has the scale {min(found.scale)}; a positive number is needed")
        if seen.setdefault(tensor.name, found) != found:
            raise _violation(tensor.name, "is read with another scale or zero point than it is written with")
        if isinstance(tensor, gs.Variable) and (found.axis is not None or np.dtype(tensor.dtype) != found.dtype):
            raise _violation(tensor.name, f"is {tensor.dtype}, or has several scales; one scale of {found.dtype}")


def _check_kernel(kernel: Kernel) -> None:
    steps = read_steps(kernel)
    for step in steps:
        check_no_wrap(step)
        if step.operation == "move" and step.inputs[0].quantization != step.output.quantization:
            raise _violation(step.name, "moves numbers between different scales")
    _check_clamps(kernel, steps)
    for tensor in kernel.outputs:
        if np.dtype(tensor.dtype) == np.float32:
            raise _violation(tensor.name, "leaves an integer kernel as float")


def _check_clamps(kernel: Kernel, steps: tuple[Step, ...]) -> None:
    outputs = {step.name: step.output for step in steps}
    for node in kernel.nodes:
        source = node.inputs[0].inputs[0] if node.op == "Clip" and node.inputs[0].inputs else None
        output = outputs.get(source.name) if source is not None else None
        if output is None:
            continue
        low, high = (float(tensor.values) for tensor in node.inputs[1:3])
        ends, own = clamp_integers(output.quantization, low, high), bounds(output.dtype)
        if ends[0] == own[0] or ends[1] == own[1]:
            raise _violation(node.name, f"clamps to {low}..{high}, of which saturation keeps one bound anyway")


def _violation(where: str, what: str) -> UnsupportedError:
    return UnsupportedError(f"checking the quantized network: {where} {what}. Quantize the float network again.")

"""Which kernels HVX has a template for, and why not the others."""

from __future__ import annotations

import numpy as np

from mdcompiler.backends.hexagon.depthwise import MOST_TAPS
from mdcompiler.backends.kernels.read_integer import check_integer
from mdcompiler.backends.kernels.read_kernel import NoTemplate, read_geometry
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel
from mdcompiler.quantization.steps import Step, affine, is_integer, read_steps

_MOVING = ("view", "layout", "postprocess")
_MOST_PICTURE_CHANNELS = 3
_STRIDES = (1, 2)


def why_not(kernel: Kernel) -> str | None:
    """None when a template serves `kernel`, else the reason as a sentence."""
    try:
        _check(kernel)
    except NoTemplate as reason:
        return str(reason)
    return None


def check_kernel(kernel: Kernel) -> None:
    """Raise UnsupportedError naming the kernel when it has no template."""
    reason = why_not(kernel)
    if reason is not None:
        raise UnsupportedError(
            f"compiling for Hexagon: {kernel.name} has no HVX kernel: {reason} Change the block in the spec, or "
            "compile for another target."
        )


def _check(kernel: Kernel) -> None:
    if is_integer(kernel):
        check_integer(kernel)
        for step in read_steps(kernel):
            if step.operation == "conv":
                _check_conv(kernel, step)
        return
    if kernel.kind in _MOVING:
        return
    if kernel.kind == "concat":
        _check_concat(kernel)
    elif kernel.kind in ("quantize", "dequantize"):
        _check_border(kernel)
    else:
        raise NoTemplate(
            f"it computes in float ({kernel.kind}), and HVX kernels are int8. Compile with `--precision int8 "
            "--calibration PICTURES`, or quantize the network first (`mdc quantize`)."
        )


def _check_conv(kernel: Kernel, step: Step) -> None:
    assert step.weights is not None
    assert step.node is not None
    weight, geometry = step.weights.centred, read_geometry(step.node)
    if weight.min() < -128 or weight.max() > 127:
        raise NoTemplate("weights less their zero point exceed int8; quantize with the scheme hexagon-hvx.")
    if kernel.kind == "depthwise" and (geometry.taps > MOST_TAPS or geometry.stride not in [(s, s) for s in _STRIDES]):
        raise NoTemplate(
            f"a depthwise window of {geometry.kernel}, stride {geometry.stride}; up to {MOST_TAPS} taps and strides "
            f"of {' and '.join(map(str, _STRIDES))}, equal both ways, are there."
        )
    if kernel.kind == "stem" and (weight.shape[1] != _MOST_PICTURE_CHANNELS or geometry.dilation != (1, 1)):
        raise NoTemplate(
            f"a picture of {weight.shape[1]} channels, dilation {geometry.dilation}; it has 3, dilation 1."
        )


def _check_concat(kernel: Kernel) -> None:
    node = kernel.nodes[0]
    shape = node.outputs[0].shape
    if int(np.prod(shape[: node.attrs["axis"] % len(shape)])) != 1:
        raise NoTemplate("a concatenation of floats along an inner axis.")


def _check_border(kernel: Kernel) -> None:
    quantization = affine(kernel.nodes[0])
    if quantization.axis is not None or quantization.dtype != "uint8":
        raise NoTemplate(f"{quantization.dtype} with {len(quantization.scale)} scales; the template has one, uint8.")

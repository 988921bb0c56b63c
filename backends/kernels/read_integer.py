"""Which quantized kernels the int8 templates take, and why not the others."""

from __future__ import annotations

from mdcompiler.backends.kernels.integer_depthwise import MOST_TAPS
from mdcompiler.backends.kernels.integer_steps import IntegerStep, conv_constants, integer_steps
from mdcompiler.backends.kernels.read_kernel import NoTemplate, read_geometry
from mdcompiler.kernel import Kernel


def check_integer(kernel: Kernel) -> None:
    """Raise NoTemplate with the reason when the int8 templates cannot compute `kernel`."""
    steps = integer_steps(kernel)
    if len(kernel.outputs) != 1:
        raise NoTemplate("a result inside the kernel is needed outside as well.")
    if kernel.kind in ("grouped_conv", "generic"):
        raise NoTemplate(f"kernels of kind {kernel.kind} have no integer template.")
    for step in steps:
        if step.operation in _CHECKS:
            _CHECKS[step.operation](kernel, step)
    operations = [step.operation for step in steps]
    if kernel.kind == "stem" and operations[:2] != ["move", "conv"]:
        raise NoTemplate(f"a picture's convolution that starts with {', '.join(operations[:2])}.")


def _check_conv(kernel: Kernel, step: IntegerStep) -> None:
    shape = step.node.outputs[0].shape
    if len(shape) != 4 or shape[0] != 1:
        raise NoTemplate(f"shape {list(shape)}; templates take [1, channels, height, width].")
    conv_constants(step.node)
    geometry = read_geometry(step.node)
    if kernel.kind == "depthwise" and (geometry.taps > MOST_TAPS or geometry.dilation != (1, 1)):
        raise NoTemplate(f"a depthwise kernel of {geometry.kernel}, dilation {geometry.dilation}.")


def _check_move(kernel: Kernel, step: IntegerStep) -> None:
    if step.inputs[0].quantization != step.output.quantization:
        raise NoTemplate(f"{step.node.op} changes the scale.")
    if step.node.op == "Transpose" and kernel.kind not in ("stem", "head"):
        raise NoTemplate("a transpose of bytes outside a head.")


def _check_concat(kernel: Kernel, step: IntegerStep) -> None:
    shape, axis = step.node.outputs[0].shape, int(step.node.attrs["axis"])
    if any(extent != 1 for extent in shape[: axis % len(shape)]):
        raise NoTemplate("a concatenation of bytes along an inner axis.")
    if any(tensor.quantization != step.output.quantization for tensor in step.inputs):
        raise NoTemplate("a concatenation of bytes with different scales.")


def _check_product(kernel: Kernel, step: IntegerStep) -> None:
    if kernel.kind != "squeeze_excite":
        raise NoTemplate("a product of bytes that is no gate.")


def _check_requantize(kernel: Kernel, step: IntegerStep) -> None:
    raise NoTemplate("a change of scale by itself has no integer template.")


_CHECKS = {
    "conv": _check_conv,
    "move": _check_move,
    "concat": _check_concat,
    "product": _check_product,
    "requantize": _check_requantize,
}

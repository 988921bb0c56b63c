"""Which quantized kernels the int8 templates take, and why not the others."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from mdcompiler.backends.kernels.integer_depthwise import MOST_TAPS
from mdcompiler.backends.kernels.read_kernel import NoTemplate, read_geometry
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel
from mdcompiler.quantization.steps import Step, read_steps


def check_integer(kernel: Kernel) -> None:
    """Raise NoTemplate with the reason when the int8 templates cannot compute `kernel`."""
    steps = _read(kernel)
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


def _read(kernel: Kernel) -> tuple[Step, ...]:
    try:
        steps = read_steps(kernel)
    except UnsupportedError as error:
        raise NoTemplate(str(error)) from error
    for step in steps:
        for port in (*step.inputs, step.output):
            if port.dtype != "uint8":
                raise NoTemplate(f"{port.dtype} activations; the integer templates compute in uint8.")
    return steps


def _node(step: Step) -> gs.Node:
    if step.node is None:
        raise NoTemplate("a change of scale by itself has no integer template.")
    return step.node


def _check_conv(kernel: Kernel, step: Step) -> None:
    shape = _node(step).outputs[0].shape
    if len(shape) != 4 or shape[0] != 1:
        raise NoTemplate(f"shape {list(shape)}; templates take [1, channels, height, width].")
    geometry = read_geometry(_node(step))
    if kernel.kind == "depthwise" and (geometry.taps > MOST_TAPS or geometry.dilation != (1, 1)):
        raise NoTemplate(f"a depthwise kernel of {geometry.kernel}, dilation {geometry.dilation}.")


def _check_move(kernel: Kernel, step: Step) -> None:
    if step.inputs[0].quantization != step.output.quantization:
        raise NoTemplate(f"{_node(step).op} changes the scale.")
    if _node(step).op == "Transpose" and kernel.kind not in ("stem", "head"):
        raise NoTemplate("a transpose of bytes outside a head.")


def _check_concat(kernel: Kernel, step: Step) -> None:
    shape, axis = _node(step).outputs[0].shape, int(_node(step).attrs["axis"])
    if any(extent != 1 for extent in shape[: axis % len(shape)]):
        raise NoTemplate("a concatenation of bytes along an inner axis.")


def _check_product(kernel: Kernel, step: Step) -> None:
    if kernel.kind != "squeeze_excite":
        raise NoTemplate("a product of bytes that is no gate.")


def _check_requantize(kernel: Kernel, step: Step) -> None:
    _node(step)


_CHECKS = {
    "conv": _check_conv,
    "move": _check_move,
    "concat": _check_concat,
    "product": _check_product,
    "requantize": _check_requantize,
}

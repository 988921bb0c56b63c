"""Which template serves a kernel, which memory layout it wants, or why there is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from mdcompiler.backends.kernels import read_kernel as read
from mdcompiler.backends.kernels.read_integer import check_integer
from mdcompiler.kernel import Kernel
from mdcompiler.quantization.steps import affine, is_integer

Wish = Literal["plain", "blocked", "stem", "head", "any"]
"""Layout of a kernel's inputs and outputs. stem: plain in, blocked out; head: blocked in, plain out."""

_READERS: dict[str, Callable[[Kernel, int], Any]] = {
    "stem": read.read_convolution,
    "head": read.read_convolution,
    "pointwise": read.read_convolution,
    "conv": read.read_convolution,
    "depthwise": read.read_depthwise,
    "squeeze_excite": lambda kernel, _: read.read_squeeze_excite(kernel),
    "add": lambda kernel, _: read.read_add(kernel),
    "elementwise": lambda kernel, _: read.read_activation(kernel),
    "pool": lambda kernel, lanes: read_pool(kernel, lanes),
    "quantize": lambda kernel, _: read_conversion(kernel),
    "dequantize": lambda kernel, _: read_conversion(kernel),
}
_NO_ARITHMETIC = ("view", "concat", "layout", "postprocess")
_ANY_LAYOUT = ("add", "elementwise", "quantize", "dequantize")


def why_not(kernel: Kernel, lanes: int) -> str | None:
    """None when a template serves `kernel`, else the reason as a sentence."""
    if is_integer(kernel):
        return _reason(lambda: check_integer(kernel))
    if kernel.kind in _NO_ARITHMETIC:
        return None
    reader = _READERS.get(kernel.kind)
    if reader is None:
        operators = ", ".join(dict.fromkeys(node.op for node in kernel.nodes))
        return f"{operators}: kernels of kind {kernel.kind} have no template; TVM's own code is used."
    return _reason(lambda: reader(kernel, lanes))


def _reason(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except read.NoTemplate as reason:
        return f"{reason} TVM's own code is used."
    return None


def layout_wish(kernel: Kernel, lanes: int) -> Wish:
    """The layout in which the kernel reads and writes."""
    if kernel.kind in _NO_ARITHMETIC or why_not(kernel, lanes):
        return "plain"
    if kernel.kind in _ANY_LAYOUT:
        return "any"
    if kernel.kind == "stem":
        return "stem"
    return "head" if kernel.kind == "head" else "blocked"


def read_conversion(kernel: Kernel) -> None:
    """A kernel of kind quantize or dequantize: one scale, uint8."""
    quantization = affine(kernel.nodes[0])
    if quantization.axis is not None or quantization.dtype != "uint8":
        raise read.NoTemplate(
            f"{quantization.dtype} with {len(quantization.scale)} scales; the template has one, uint8."
        )


def read_pool(kernel: Kernel, lanes: int) -> read.ReadWindow | tuple[str, str, int, int]:
    """A max pooling or a global mean."""
    if kernel.nodes[0].op == "GlobalAveragePool":
        return read.read_mean(kernel)
    return read.read_max_pool(kernel, lanes)

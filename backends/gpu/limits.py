"""Which kernels a GPU has a template for, and why not the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mdcompiler.backends.gpu.choose import choose_window
from mdcompiler.backends.gpu.convolution import PICTURE_CHANNELS
from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.integer_limits import check_bytes
from mdcompiler.backends.gpu.launch import Launch
from mdcompiler.backends.gpu.traits import GpuTraits
from mdcompiler.backends.kernels import read_kernel as read
from mdcompiler.backends.kernels.read_kernel import NoTemplate
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel
from mdcompiler.quantization.steps import is_integer

_FREE = ("view", "layout", "postprocess")
_BORDERS = ("quantize", "dequantize")
_BYTES = np.dtype(np.uint8)


def why_not(kernel: Kernel, traits: GpuTraits) -> str | None:
    """None when a template serves `kernel`, else the reason as a sentence."""
    try:
        _check(kernel, traits)
    except NoTemplate as reason:
        return str(reason)
    return None


def check_kernel(kernel: Kernel, traits: GpuTraits) -> None:
    """Raise UnsupportedError naming the kernel when it has no template."""
    reason = why_not(kernel, traits)
    if reason is not None:
        raise UnsupportedError(
            f"compiling for a GPU: {kernel.name} has no kernel: {reason} Change the block in the spec, or compile for "
            "another target."
        )


def check_launch(symbol: str, launch: Launch, traits: GpuTraits) -> None:
    """Raise UnsupportedError when a kernel needs a larger workgroup than the device has.

    Tiles are chosen within the limits; kernels without a tile have a workgroup of their own.
    """
    if launch.threads > traits.max_threads:
        raise UnsupportedError(
            f"compiling for a GPU: a workgroup of {symbol} has {launch.threads} threads; allowed {traits.max_threads} "
            "(maxComputeInvocationsPerWorkgroup). Compile for another target."
        )


def _check(kernel: Kernel, traits: GpuTraits) -> None:
    _check_sizes(kernel, traits)
    moves_bytes = kernel.kind == "layout" and np.dtype(kernel.outputs[0].dtype) == _BYTES
    if is_integer(kernel) or kernel.kind in _BORDERS or moves_bytes:
        check_bytes(kernel)
        return
    if kernel.kind in _FREE:
        return
    _check_float(kernel)
    checks: dict[str, Callable[[Kernel, GpuTraits], Any]] = {
        "stem": _check_stem,
        "head": _check_convolution,
        "pointwise": _check_convolution,
        "conv": _check_convolution,
        "depthwise": _check_depthwise,
        "squeeze_excite": lambda kernel, _: read.read_squeeze_excite(kernel),
        "add": lambda kernel, _: read.read_add(kernel),
        "elementwise": lambda kernel, _: read.read_activation(kernel),
        "pool": _check_pool,
        "concat": _check_concat,
    }
    if kernel.kind not in checks:
        operators = ", ".join(dict.fromkeys(node.op for node in kernel.nodes))
        raise NoTemplate(f"{operators}: kernels of kind {kernel.kind} have no GPU template.")
    checks[kernel.kind](kernel, traits)


def _check_float(kernel: Kernel) -> None:
    for tensor in kernel.outputs:
        if np.dtype(tensor.dtype) != np.float32:
            raise NoTemplate(f"{np.dtype(tensor.dtype)} arithmetic; GPU kernels compute in float32.")


def _check_sizes(kernel: Kernel, traits: GpuTraits) -> None:
    """A kernel sees each tensor through one binding, whose size the device limits."""
    for tensor in (*kernel.inputs, *kernel.outputs):
        size = 4 * int(np.prod([int(extent) for extent in tensor.shape]))
        if size > traits.max_buffer_bytes:
            raise NoTemplate(
                f"{tensor.name} has {size} bytes, and a kernel may bind {traits.max_buffer_bytes} "
                "(maxStorageBufferBindingSize)."
            )


def _check_convolution(kernel: Kernel, traits: GpuTraits) -> None:
    weight = read.read_convolution(kernel, LANES).weight
    if weight.nbytes > traits.max_buffer_bytes:
        raise NoTemplate(
            f"weights of {weight.nbytes} bytes, and a kernel may bind {traits.max_buffer_bytes} "
            "(maxStorageBufferBindingSize)."
        )


def _check_stem(kernel: Kernel, traits: GpuTraits) -> None:
    item = read.read_convolution(kernel, LANES)
    if item.work.in_channels != PICTURE_CHANNELS:
        raise NoTemplate(f"a picture of {item.work.in_channels} channels; it has {PICTURE_CHANNELS}.")


def _check_depthwise(kernel: Kernel, traits: GpuTraits) -> None:
    _check_window(read.read_depthwise(kernel, LANES), traits)


def _check_pool(kernel: Kernel, traits: GpuTraits) -> None:
    if kernel.nodes[0].op == "GlobalAveragePool":
        read.read_mean(kernel)
    else:
        _check_window(read.read_max_pool(kernel, LANES), traits)


def _check_window(item: read.ReadWindow, traits: GpuTraits) -> None:
    if choose_window(item.work, traits) is None:
        raise NoTemplate(
            f"the inputs under a window of {item.work.geometry.kernel} exceed the {traits.shared_bytes} bytes of a "
            "workgroup (maxComputeWorkgroupStorageSize)."
        )


def _check_concat(kernel: Kernel, traits: GpuTraits) -> None:
    node = kernel.nodes[0]
    shape = node.outputs[0].shape
    if int(np.prod(shape[: node.attrs["axis"] % len(shape)])) != 1:
        raise NoTemplate("a concatenation along an inner axis.")

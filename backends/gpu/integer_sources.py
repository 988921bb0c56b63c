"""Integer kernels yet to be written, as data (see `sources`, which holds those for floats)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.gpu import integer_elementwise as elementwise
from mdcompiler.backends.gpu import integer_gate as gate
from mdcompiler.backends.gpu.integer_convolution import write_convolution
from mdcompiler.backends.gpu.integer_depthwise import GpuIntegerWindow, IntegerWindowTile, write_window
from mdcompiler.backends.gpu.integer_workload import GpuIntegerConvolution, IntegerTile
from mdcompiler.backends.kernels.symbol import symbol

_SIMPLE: dict[str, Callable[..., Any]] = {
    "table": elementwise.write_table,
    "plain_table": elementwise.write_plain_table,
    "add": elementwise.write_add,
    "gate": elementwise.write_gate,
    "quantize": elementwise.write_quantize,
    "plain_quantize": elementwise.write_plain_quantize,
    "dequantize": elementwise.write_dequantize,
    "pack": elementwise.write_pack,
    "unpack": elementwise.write_unpack,
    "copy": elementwise.write_copy,
    "mean": gate.write_mean,
    "dense": gate.write_dense,
}


@dataclass(frozen=True)
class IntegerConvolutionSource:
    """A k x k or pointwise convolution of bytes under one tile."""

    work: GpuIntegerConvolution
    tile: IntegerTile

    @property
    def symbol(self) -> str:
        return symbol("gpu_pointwise_int8" if self.work.is_pointwise else "gpu_conv_int8", self)

    def write(self) -> Any:
        return write_convolution(self.symbol, self.work, self.tile)


@dataclass(frozen=True)
class IntegerWindowSource:
    """A depthwise convolution of bytes under one tile."""

    work: GpuIntegerWindow
    tile: IntegerWindowTile

    @property
    def symbol(self) -> str:
        return symbol("gpu_depthwise_int8", self)

    def write(self) -> Any:
        return write_window(self.symbol, self.work, self.tile)


@dataclass(frozen=True)
class IntegerSimpleSource:
    """One of the simple kernels, by name and arguments."""

    template: str
    arguments: tuple[Any, ...]

    @property
    def symbol(self) -> str:
        return symbol(f"gpu_{self.template}_int8", self)

    def write(self) -> Any:
        return _SIMPLE[self.template](self.symbol, *self.arguments)

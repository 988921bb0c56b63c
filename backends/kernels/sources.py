"""Kernel functions yet to be written, as data: what a program names and a build process turns into TIR.

Each is a frozen dataclass of numbers and words. Its symbol is a hash of them, so equal work is compiled
once, in one network or many, and a source can be sent to another process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.kernels import channelwise
from mdcompiler.backends.kernels import integer_elementwise as elementwise
from mdcompiler.backends.kernels.convolution import Convolution, Tile, write_convolution
from mdcompiler.backends.kernels.depthwise import Window, write_window
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution, write_integer_convolution
from mdcompiler.backends.kernels.integer_depthwise import IntegerWindow, write_integer_window
from mdcompiler.backends.kernels.winograd import WinogradTile, write_winograd_multiply, write_winograd_source

_CHANNELWISE: dict[str, Callable[..., Any]] = {
    "mean": channelwise.write_mean,
    "dense": channelwise.write_dense,
    "gate": channelwise.write_gate,
    "add": channelwise.write_add,
    "activation": channelwise.write_activation,
    "preprocess": channelwise.write_preprocess,
    "pack": channelwise.write_pack,
    "unpack": channelwise.write_unpack,
    "table": elementwise.write_table,
    "add_int8": elementwise.write_integer_add,
    "mean_int8": elementwise.write_integer_mean,
    "gate_int8": elementwise.write_integer_gate,
    "quantize": elementwise.write_quantize,
    "dequantize": elementwise.write_dequantize,
    "pack_int8": elementwise.write_integer_pack,
    "unpack_int8": elementwise.write_integer_unpack,
}


@dataclass(frozen=True)
class ConvolutionSource:
    """A k x k or pointwise convolution under one register tile."""

    work: Convolution
    tile: Tile

    @property
    def symbol(self) -> str:
        return _symbol("pointwise" if self.work.geometry.is_pointwise else "conv", self)

    def write(self) -> Any:
        return write_convolution(self.symbol, self.work, self.tile)


@dataclass(frozen=True)
class WinogradPatchesSource:
    """The first function of a Winograd convolution: transforms the patches of the input."""

    work: Convolution
    outputs: int

    @property
    def symbol(self) -> str:
        return _symbol("winograd_patches", self)

    def write(self) -> Any:
        return write_winograd_source(self.symbol, self.work, self.outputs)


@dataclass(frozen=True)
class WinogradSource:
    """The second function of a Winograd convolution: multiplies and transforms back."""

    work: Convolution
    tile: WinogradTile

    @property
    def symbol(self) -> str:
        return _symbol("winograd", self)

    def write(self) -> Any:
        return write_winograd_multiply(self.symbol, self.work, self.tile)


@dataclass(frozen=True)
class WindowSource:
    """A depthwise convolution or a max pooling, `pixels` outputs in a register tile."""

    work: Window
    pixels: int

    @property
    def symbol(self) -> str:
        return _symbol("depthwise" if self.work.operation == "convolution" else "pool", self)

    def write(self) -> Any:
        return write_window(self.symbol, self.work, self.pixels)


@dataclass(frozen=True)
class IntegerConvolutionSource:
    """A k x k or pointwise convolution of bytes under one register tile."""

    work: IntegerConvolution
    tile: Tile

    @property
    def symbol(self) -> str:
        return _symbol("pointwise_int8" if self.work.geometry.is_pointwise else "conv_int8", self)

    def write(self) -> Any:
        return write_integer_convolution(self.symbol, self.work, self.tile)


@dataclass(frozen=True)
class IntegerWindowSource:
    """A depthwise convolution of bytes, `pixels` outputs in a register tile."""

    work: IntegerWindow
    pixels: int

    @property
    def symbol(self) -> str:
        return _symbol("depthwise_int8", self)

    def write(self) -> Any:
        return write_integer_window(self.symbol, self.work, self.pixels)


@dataclass(frozen=True)
class ChannelwiseSource:
    """One of the simple kernels of `channelwise` and `integer_elementwise`, by name and arguments."""

    template: str
    arguments: tuple[Any, ...]

    @property
    def symbol(self) -> str:
        return _symbol(self.template, self)

    def write(self) -> Any:
        return _CHANNELWISE[self.template](self.symbol, *self.arguments)


def _symbol(stem: str, source: object) -> str:
    return f"{stem}_{hashlib.sha256(repr(source).encode()).hexdigest()[:12]}"

"""Kernel functions yet to be written, as data: what a program names and a build process turns into TIR.

Each is a frozen dataclass of numbers and words. Its symbol is a hash of them, so equal work is compiled
once, in one network or many, and a source can be sent to another process.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

from mdcompiler.backends.kernels import channelwise, integer_gate
from mdcompiler.backends.kernels import integer_elementwise as elementwise
from mdcompiler.backends.kernels.convolution import Convolution, Tile, write_convolution
from mdcompiler.backends.kernels.depthwise import Window, write_window
from mdcompiler.backends.kernels.depthwise import tasks as depthwise_tasks
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution, write_integer_convolution
from mdcompiler.backends.kernels.integer_depthwise import write_integer_window
from mdcompiler.backends.kernels.integer_window import IntegerWindow
from mdcompiler.backends.kernels.neon_convolution import suits_neon, write_neon_convolution
from mdcompiler.backends.kernels.neon_matrix import suits_matrix, write_matrix_convolution
from mdcompiler.backends.kernels.neon_picture import suits_picture, write_picture_convolution
from mdcompiler.backends.kernels.neon_rows_convolution import write_rows_convolution
from mdcompiler.backends.kernels.symbol import symbol
from mdcompiler.backends.kernels.winograd import WinogradTile
from mdcompiler.backends.kernels.winograd_multiply import write_winograd_multiply
from mdcompiler.backends.kernels.winograd_source import write_winograd_source

Source = TypeVar("Source", bound=Any)

_CHANNELWISE: dict[str, Callable[..., Any]] = {
    "mean": channelwise.write_mean,
    "dense": channelwise.write_dense,
    "gate": channelwise.write_gate,
    "scale_weights": channelwise.write_scale_weights,
    "add": channelwise.write_add,
    "activation": channelwise.write_activation,
    "preprocess": channelwise.write_preprocess,
    "pack": channelwise.write_pack,
    "unpack": channelwise.write_unpack,
    "table": elementwise.write_table,
    "add_int8": elementwise.write_integer_add,
    "mean_int8": integer_gate.write_integer_mean,
    "gate_int8": integer_gate.write_integer_gate,
    "quantize": elementwise.write_quantize,
    "dequantize": elementwise.write_dequantize,
    "pack_int8": elementwise.write_integer_pack,
    "unpack_int8": elementwise.write_integer_unpack,
}


class _TileStrips:
    """What convolutions under a register tile say about themselves so that they can run over strips of rows."""

    work: Any
    tile: Tile

    @property
    def planes(self) -> int:
        """Channel blocks of the output."""
        return int(self.work.out_blocks)

    @property
    def tasks(self) -> int:
        """Iterations of the outermost loop."""
        return self.tile.tasks(self.work.geometry, self.work.out_blocks)

    def strip(self: Source, source_rows: int, target_rows: int) -> Source:
        """The same work over strips of memory, row by row within each group of channels."""
        geometry = replace(self.work.geometry, source_rows=source_rows, target_rows=target_rows)
        pixels = _even(geometry.out[1], self.tile.pixels)
        tile = replace(self.tile, pixels=pixels, rows_outer=False)
        return replace(self, work=replace(self.work, geometry=geometry), tile=tile)


class _WindowStrips:
    """The same for windows that slide over each channel by itself."""

    work: Any

    @property
    def planes(self) -> int:
        """Channel blocks of the output."""
        return int(self.work.blocks)

    @property
    def tasks(self) -> int:
        """Iterations of the outermost loop."""
        return depthwise_tasks(self.work)

    def strip(self: Source, source_rows: int, target_rows: int) -> Source:
        """The same work over strips of memory."""
        geometry = replace(self.work.geometry, source_rows=source_rows, target_rows=target_rows)
        return replace(self, work=replace(self.work, geometry=geometry))


@dataclass(frozen=True)
class ConvolutionSource(_TileStrips):
    """A k x k or pointwise convolution under one register tile."""

    work: Convolution
    tile: Tile
    element_bytes: ClassVar[int] = 4

    @property
    def symbol(self) -> str:
        return symbol("pointwise" if self.work.geometry.is_pointwise else "conv", self)

    def write(self) -> Any:
        write = write_picture_convolution if suits_picture(self.work) else write_convolution
        return write(self.symbol, self.work, self.tile)


@dataclass(frozen=True)
class WinogradPatchesSource:
    """The first function of a Winograd convolution: transforms the patches of the input."""

    work: Convolution
    outputs: int

    @property
    def symbol(self) -> str:
        return symbol("winograd_patches", self)

    def write(self) -> Any:
        return write_winograd_source(self.symbol, self.work, self.outputs)


@dataclass(frozen=True)
class WinogradSource:
    """The second function of a Winograd convolution: multiplies and transforms back."""

    work: Convolution
    tile: WinogradTile

    @property
    def symbol(self) -> str:
        return symbol("winograd", self)

    def write(self) -> Any:
        return write_winograd_multiply(self.symbol, self.work, self.tile)


@dataclass(frozen=True)
class WindowSource(_WindowStrips):
    """A depthwise convolution or a max pooling, `pixels` outputs in a register tile."""

    work: Window
    pixels: int
    element_bytes: ClassVar[int] = 4

    @property
    def symbol(self) -> str:
        return symbol("depthwise" if self.work.operation == "convolution" else "pool", self)

    def write(self) -> Any:
        return write_window(self.symbol, self.work, self.pixels)


@dataclass(frozen=True)
class IntegerConvolutionSource(_TileStrips):
    """A k x k or pointwise convolution of bytes under one register tile."""

    work: IntegerConvolution
    tile: Tile
    element_bytes: ClassVar[int] = 1

    @property
    def symbol(self) -> str:
        return symbol("pointwise_int8" if self.work.geometry.is_pointwise else "conv_int8", self)

    def write(self) -> Any:
        return _integer_writer(self.work)(self.symbol, self.work, self.tile)


@dataclass(frozen=True)
class IntegerWindowSource(_WindowStrips):
    """A depthwise convolution of bytes, `pixels` outputs in a register tile."""

    work: IntegerWindow
    pixels: int
    element_bytes: ClassVar[int] = 1

    @property
    def symbol(self) -> str:
        return symbol("depthwise_int8", self)

    def write(self) -> Any:
        return write_integer_window(self.symbol, self.work, self.pixels)


@dataclass(frozen=True)
class ChannelwiseSource:
    """One of the simple kernels of `channelwise` and `integer_elementwise`, by name and arguments."""

    template: str
    arguments: tuple[Any, ...]

    @property
    def symbol(self) -> str:
        return symbol(self.template, self)

    def write(self) -> Any:
        return _CHANNELWISE[self.template](self.symbol, *self.arguments)


def _integer_writer(work: IntegerConvolution) -> Callable[[str, IntegerConvolution, Tile], Any]:
    """Which kernel computes it: where none of Arm's does, the one for any processor."""
    if work.by_rows:
        return write_rows_convolution
    if suits_matrix(work):
        return write_matrix_convolution
    return write_neon_convolution if suits_neon(work) else write_integer_convolution


def _even(extent: int, limit: int) -> int:
    """The size of equal parts of `extent` that are at most `limit`."""
    return math.ceil(extent / math.ceil(extent / limit))

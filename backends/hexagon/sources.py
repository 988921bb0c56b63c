"""Kernel functions yet to be written, as data (see `backends.kernels.sources`, which holds those for CPUs)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.hexagon import borders, elementwise, sums
from mdcompiler.backends.hexagon.convolution import HvxConvolution, HvxTile, write_convolution
from mdcompiler.backends.hexagon.depthwise import HvxRows, HvxWindow, write_window
from mdcompiler.backends.kernels.symbol import symbol

_SIMPLE: dict[str, Callable[..., Any]] = {
    "borders": borders.write_borders,
    "picture": borders.write_picture,
    "rows": borders.write_rows,
    "pixel_sums": sums.write_pixel_sums,
    "picture_sums": sums.write_picture_sums,
    "window_sums": sums.write_window_sums,
    "table": elementwise.write_table,
    "add": elementwise.write_add,
    "mean": elementwise.write_mean,
    "gate": elementwise.write_gate,
    "floats": elementwise.write_floats,
}


@dataclass(frozen=True)
class HvxConvolutionSource:
    """A convolution under one register tile."""

    work: HvxConvolution
    tile: HvxTile

    @property
    def symbol(self) -> str:
        return symbol("hvx_conv", self)

    def write(self) -> Any:
        return write_convolution(self.symbol, self.work, self.tile)


@dataclass(frozen=True)
class HvxWindowSource:
    """A depthwise convolution under one schedule."""

    work: HvxWindow
    schedule: HvxRows

    @property
    def symbol(self) -> str:
        return symbol("hvx_depthwise", self)

    def write(self) -> Any:
        return write_window(self.symbol, self.work, self.schedule)


@dataclass(frozen=True)
class HvxSimpleSource:
    """One of the simple kernels, by name and arguments."""

    template: str
    arguments: tuple[Any, ...]

    @property
    def symbol(self) -> str:
        return symbol(f"hvx_{self.template}", self)

    def write(self) -> Any:
        return _SIMPLE[self.template](self.symbol, *self.arguments)

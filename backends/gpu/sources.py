"""GPU kernels yet to be written, as data: what a program names and a build process turns into TIR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.gpu import channelwise
from mdcompiler.backends.gpu.convolution import GpuConvolution, GpuTile
from mdcompiler.backends.gpu.traits import Element
from mdcompiler.backends.gpu.window import WindowTile, write_window
from mdcompiler.backends.gpu.write_convolution import write_convolution
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.backends.kernels.symbol import symbol

_CHANNELWISE: dict[str, Callable[..., Any]] = {
    "mean": channelwise.write_mean,
    "dense": channelwise.write_dense,
    "gate": channelwise.write_gate,
    "add": channelwise.write_add,
    "activation": channelwise.write_activation,
    "pack": channelwise.write_pack,
    "unpack": channelwise.write_unpack,
    "copy": channelwise.write_copy,
}


@dataclass(frozen=True)
class GpuConvolutionSource:
    """A k x k or pointwise convolution, its source a picture or activations."""

    problem: GpuConvolution
    tile: GpuTile

    @property
    def symbol(self) -> str:
        return symbol("gpu_pointwise" if self.problem.work.geometry.is_pointwise else "gpu_conv", self)

    def write(self) -> Any:
        return write_convolution(self.symbol, self.problem, self.tile)


@dataclass(frozen=True)
class GpuWindowSource:
    """A depthwise convolution or a max pooling."""

    work: Window
    element: Element
    tile: WindowTile

    @property
    def symbol(self) -> str:
        return symbol("gpu_depthwise" if self.work.operation == "convolution" else "gpu_pool", self)

    def write(self) -> Any:
        return write_window(self.symbol, self.work, self.element, self.tile)


@dataclass(frozen=True)
class GpuSimpleSource:
    """One of the kernels of `channelwise`, by name and arguments."""

    template: str
    arguments: tuple[Any, ...]

    @property
    def symbol(self) -> str:
        return symbol(f"gpu_{self.template}", self)

    def write(self) -> Any:
        return _CHANNELWISE[self.template](self.symbol, *self.arguments)

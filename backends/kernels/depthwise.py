"""Depthwise convolution and pooling windows, float32, channels in blocks of one vector.

Memory: activations [C/v][H][W][v], weights [C/v][kh][kw][v]. One task is one output row of one channel
block. Borders: see `geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from mdcompiler.backends.kernels.activation import NO_ACTIVATION, Curve
from mdcompiler.backends.kernels.geometry import Geometry, Place, columns, row_tiles
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function, Register, splat
from mdcompiler.known import unknown

WindowOperation = Literal["convolution", "max"]

_LOWEST = -3.4028234663852886e38


@dataclass(frozen=True)
class WindowShape:
    """What every kernel knows that slides over each channel by itself, float or integer."""

    geometry: Geometry
    channels: int
    lanes: int

    @property
    def blocks(self) -> int:
        return -(-self.channels // self.lanes)

    @property
    def macs(self) -> int:
        return self.geometry.out_pixels * self.channels * self.geometry.taps


@dataclass(frozen=True)
class Window(WindowShape):
    """A workload. operation: `convolution` (weighted sum + bias) or `max` (pooling)."""

    activation: Curve = NO_ACTIVATION
    operation: WindowOperation = "convolution"


def tasks(work: WindowShape) -> int:
    """Iterations of the outermost loop."""
    return work.blocks * work.geometry.out[0]


def write_window(name: str, work: Window, pixels: int) -> tirx.PrimFunc:
    """The kernel `name(source, [weight, bias,] target, begin, end)`; `pixels` outputs share a register tile."""
    return _Writer(name, work, pixels).write()


def check_window(work: Window) -> None:
    """Raise InternalError for an operation that is neither a weighted sum nor a maximum."""
    operations = get_args(WindowOperation)
    if work.operation not in operations:
        raise unknown(work.operation, "the operation of a window", operations)


class _Writer:
    def __init__(self, name: str, work: Window, pixels: int) -> None:
        self.work, self.pixels, self.lanes, self.geometry = work, pixels, work.lanes, work.geometry
        self.f = Function(name)
        self.source = self.f.buffer("source", work.blocks * self.geometry.pixels * self.lanes)
        check_window(work)
        if work.operation == "convolution":
            self.weight = self.f.buffer("weight", work.blocks * self.geometry.taps * self.lanes)
            self.bias = self.f.buffer("bias", work.blocks * self.lanes)
        self.target = self.f.buffer("target", work.blocks * self.geometry.out_pixels * self.lanes)

    def write(self) -> tirx.PrimFunc:
        with self.f.range() as task:
            block = self.f.let("block", task // self.geometry.out[0])
            row = self.f.let("row", task % self.geometry.out[0])
            for start, count, pixels, inside in row_tiles(self.geometry, self.pixels):
                with self.f.loop(0, count, "tile") as index:
                    self._tile(block, Place(row, start + index * pixels, pixels, inside))
        return self.f.finish()

    def _tile(self, block: Expr, place: Place) -> None:
        registers = [self.f.register(self.lanes) for _ in range(place.pixels)]
        for register in registers:
            register.set(self._initial(block))
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(top, stop, "kh") as kh:
            for kw, taps in columns(self.geometry, place):
                for pixel in taps:
                    self._tap(registers[pixel], block, place, pixel, kh, kw)
        for pixel, register in enumerate(registers):
            index = block * self.geometry.target_plane + place.row * self.geometry.out[1] + place.start + pixel
            value = self.work.activation.apply(register.get(), self.lanes)
            self.target.store(index * self.lanes, self.lanes, value)

    def _tap(self, register: Register, block: Expr, place: Place, pixel: int, kh: Expr, kw: int) -> None:
        """Take the element under kernel position (kh, kw) into the register of one pixel."""
        geometry, lanes = self.geometry, self.lanes
        y, x = geometry.source(0, place.row, kh), geometry.source(1, place.start + pixel, kw)
        value = self.source.vector((block * geometry.source_plane + y * geometry.size[1] + x) * lanes, lanes)
        if self.work.operation == "max":
            register.set(tirx.max(register.get(), value))
        else:
            weight = self.weight.vector((block * geometry.taps + kh * geometry.kernel[1] + kw) * lanes, lanes)
            register.set(register.get() + value * weight)

    def _initial(self, block: Expr) -> Expr:
        if self.work.operation == "max":
            return splat(_LOWEST, self.lanes)
        return self.bias.vector(block * self.lanes, self.lanes)

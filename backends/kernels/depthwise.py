"""Depthwise convolution and pooling windows, float32, channels in blocks of one vector.

Memory: activations [C/v][H][W][v], weights [C/v][kh][kw][v]. One task is one output row of one channel
block. Borders are handled as in `convolution`: tiles at the left and right are written out of the taps
that exist, kernel rows outside the picture are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tvm import tirx

from mdcompiler.backends.kernels.activation import NO_ACTIVATION, Curve
from mdcompiler.backends.kernels.tir import Expr, Function, Register, splat

_LOWEST = -3.4028234663852886e38


@dataclass(frozen=True)
class Window:
    """A workload: a window that slides over each channel by itself.

    operation: `convolution` (weighted sum + bias), `max` (pooling). Other fields as in Convolution.
    """

    channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    out_height: int
    out_width: int
    lanes: int
    activation: Curve = NO_ACTIVATION
    operation: Literal["convolution", "max"] = "convolution"

    @property
    def blocks(self) -> int:
        return -(-self.channels // self.lanes)

    @property
    def macs(self) -> int:
        return self.out_height * self.out_width * self.channels * self.kernel[0] * self.kernel[1]


def tasks(work: Window) -> int:
    """Iterations of the outermost loop."""
    return work.blocks * work.out_height


def weight_shape(work: Window) -> tuple[int, ...]:
    """[C/v][kh][kw][v]"""
    return (work.blocks, *work.kernel, work.lanes)


def write_window(name: str, work: Window, pixels: int) -> tirx.PrimFunc:
    """The kernel `name(source, [weight, bias,] target, begin, end)`; `pixels` outputs share a register tile."""
    return _Writer(name, work, pixels).write()


class _Writer:
    def __init__(self, name: str, work: Window, pixels: int) -> None:
        self.work, self.pixels, self.lanes = work, pixels, work.lanes
        self.f = Function(name)
        self.source = self.f.buffer("source", work.blocks * work.height * work.width * work.lanes)
        if work.operation == "convolution":
            self.weight = self.f.buffer("weight", work.blocks * work.kernel[0] * work.kernel[1] * work.lanes)
            self.bias = self.f.buffer("bias", work.blocks * work.lanes)
        self.target = self.f.buffer("target", work.blocks * work.out_height * work.out_width * work.lanes)

    def write(self) -> tirx.PrimFunc:
        with self.f.range() as task:
            block = self.f.let("block", task // self.work.out_height)
            row = self.f.let("row", task % self.work.out_height)
            for start, count, pixels, inside in self._tiles():
                with self.f.loop(0, count, "tile") as index:
                    self._tile(block, row, start + index * pixels, pixels, inside)
        return self.f.finish()

    def _tiles(self) -> Iterator[tuple[int, int, int, bool]]:
        """Runs of equal tiles: first column, how many, width, whether all their taps exist."""
        full, rest = divmod(self.work.out_width, self.pixels)
        inner = [i for i in range(full) if self._inside(i * self.pixels, self.pixels)]
        for i in range(full):
            if i not in inner:
                yield i * self.pixels, 1, self.pixels, False
            elif i == inner[0]:
                yield i * self.pixels, len(inner), self.pixels, True
        if rest:
            yield full * self.pixels, 1, rest, self._inside(full * self.pixels, rest)

    def _inside(self, start: int, pixels: int) -> bool:
        work = self.work
        right = (start + pixels - 1) * work.stride[1] - work.pad[1] + work.kernel[1] - 1
        return start * work.stride[1] >= work.pad[1] and right < work.width

    def _tile(self, block: Expr, row: Expr, start: Expr, pixels: int, inside: bool) -> None:
        work, lanes = self.work, self.lanes
        registers = [self.f.register(lanes) for _ in range(pixels)]
        for register in registers:
            register.set(self._initial(block))
        top, stop = self._kernel_rows(row)
        with self.f.loop(top, stop, "kh") as kh:
            y = row * work.stride[0] + kh - work.pad[0]
            for kw in range(work.kernel[1]):
                self._tap(registers, block, y, start, kh, kw, inside)
        for pixel, register in enumerate(registers):
            index = ((block * work.out_height + row) * work.out_width + start + pixel) * lanes
            self.target.store(index, lanes, work.activation.apply(register.get(), lanes))

    def _tap(
        self, registers: list[Register], block: Expr, y: Expr, start: Expr, kh: Expr, kw: int, inside: bool
    ) -> None:
        """Take the pixels under kernel position (kh, kw) into all registers."""
        work, lanes = self.work, self.lanes
        for pixel, register in enumerate(registers):
            x = (start + pixel) * work.stride[1] + kw - work.pad[1]
            if not inside and not 0 <= x < work.width:
                continue
            value = self.source.vector(((block * work.height + y) * work.width + x) * lanes, lanes)
            if work.operation == "max":
                register.set(tirx.max(register.get(), value))
            else:
                weight = self.weight.vector(((block * work.kernel[0] + kh) * work.kernel[1] + kw) * lanes, lanes)
                register.set(register.get() + value * weight)

    def _initial(self, block: Expr) -> Expr:
        if self.work.operation == "max":
            return splat(_LOWEST, self.lanes)
        return self.bias.vector(block * self.lanes, self.lanes)

    def _kernel_rows(self, row: Expr) -> tuple[Expr, Expr]:
        work = self.work
        lowest = (work.out_height - 1) * work.stride[0] - work.pad[0] + work.kernel[0] - 1
        if work.pad[0] == 0 and lowest < work.height:
            return 0, work.kernel[0]
        top = row * work.stride[0] - work.pad[0]
        return (
            self.f.let("top", tirx.max(0, 0 - top)),
            self.f.let("stop", tirx.min(work.kernel[0], work.height - top)),
        )

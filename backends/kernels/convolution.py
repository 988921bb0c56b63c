"""Convolution k x k and pointwise, float32, channels in blocks of one vector.

Memory: activations [C/v][H][W][v] (`blocked`) or, at the network's borders, [H][W][C] (`interleaved`);
weights in the order in which they are read, see `pack_weights.pack_convolution`. A register tile of
`pixels` x `groups` vectors is kept over the whole reduction; bias, residual and activation are applied as
it is stored.

No padding is ever materialised. A tile at the left or right border is written out of the taps that fall
inside the picture, rows outside are skipped by the bounds of the loop over kernel rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tvm import tirx

from mdcompiler.backends.kernels.activation import NO_ACTIVATION, Curve
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, Register, splat

Layout = Literal["blocked", "interleaved"]
ELEMENT_BYTES = 4


@dataclass(frozen=True)
class Convolution:
    """A workload: everything that decides what the kernel computes.

    Sizes in elements; pad_* are the implicit zeros before the first row and column. residual: where a
    second input is added: nowhere, before or after the activation.
    """

    in_channels: int
    out_channels: int
    height: int
    width: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    out_height: int
    out_width: int
    lanes: int
    activation: Curve = NO_ACTIVATION
    residual: Literal["none", "before", "after"] = "none"
    source: Layout = "blocked"
    target: Layout = "blocked"
    dilation: tuple[int, int] = (1, 1)

    @property
    def in_blocks(self) -> int:
        return -(-self.in_channels // self.lanes)

    @property
    def channel_block(self) -> int:
        """Input channels that follow one another in memory at each pixel."""
        return self.lanes if self.source == "blocked" else self.in_channels

    @property
    def out_blocks(self) -> int:
        return -(-self.out_channels // self.lanes)

    @property
    def is_pointwise(self) -> bool:
        """A 1x1 convolution of stride 1: rows do not matter."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.pad == (0, 0)

    @property
    def macs(self) -> int:
        taps = self.kernel[0] * self.kernel[1] * self.in_channels
        return self.out_height * self.out_width * self.out_channels * taps

    def flat(self) -> Convolution:
        """A pointwise convolution as one row of all pixels."""
        return replace(
            self,
            height=1,
            width=self.height * self.width,
            out_height=1,
            out_width=self.out_height * self.out_width,
        )


@dataclass(frozen=True)
class Tile:
    """What one pass over the reduction computes: `pixels` neighbours in a row, `groups` channel blocks.

    rows_outer: iterate over rows first and channel groups inside, so that a row of input stays in the
    cache; otherwise channel groups first, so that their weights stay.
    """

    pixels: int
    groups: int
    rows_outer: bool = False


def tasks(work: Convolution, tile: Tile) -> int:
    """Iterations of the outermost loop."""
    rows = -(-work.out_width * work.out_height // tile.pixels) if work.is_pointwise else work.out_height
    return rows * (work.out_blocks // tile.groups)


def write_convolution(name: str, work: Convolution, tile: Tile) -> tirx.PrimFunc:
    """The kernel `name(source, weight, bias, [residual,] target, begin, end)`."""
    if work.out_blocks % tile.groups:
        raise ValueError(f"{tile.groups} groups do not divide {work.out_blocks} channel blocks")
    return _Writer(name, work.flat() if work.is_pointwise else work, tile).write()


class _Writer:
    """Writes one kernel; its methods follow the loops from the outside in."""

    def __init__(self, name: str, work: Convolution, tile: Tile) -> None:
        self.work, self.tile, self.lanes = work, tile, work.lanes
        self.f = Function(name)
        self.source = self._activations("source", work.in_channels, work.height * work.width, work.source)
        weights = work.out_blocks * work.in_channels * work.kernel[0] * work.kernel[1] * work.lanes
        self.weight = self.f.buffer("weight", weights)
        self.bias = self.f.buffer("bias", work.out_blocks * work.lanes)
        pixels = work.out_height * work.out_width
        self.residual = (
            self._activations("residual", work.out_channels, pixels, "blocked") if work.residual != "none" else None
        )
        self.target = self._activations("target", work.out_channels, pixels, work.target)

    def _activations(self, name: str, channels: int, pixels: int, layout: Layout) -> Memory:
        if layout == "interleaved":
            return self.f.buffer(name, channels * pixels, alignment=ELEMENT_BYTES)
        return self.f.buffer(name, -(-channels // self.lanes) * self.lanes * pixels)

    def write(self) -> tirx.PrimFunc:
        work, tile = self.work, self.tile
        groups = work.out_blocks // tile.groups
        rows = -(-work.out_width // tile.pixels) if work.is_pointwise else work.out_height
        with self.f.range() as task:
            group = task % groups if tile.rows_outer else task // rows
            row = task // groups if tile.rows_outer else task % rows
            first = self.f.let("block", group * tile.groups)
            index = self.f.let("row", row)
            if work.is_pointwise:
                self._pointwise(first, index, rows)
            else:
                self._row(first, index)
        return self.f.finish()

    def _pointwise(self, first: Expr, index: Expr, rows: int) -> None:
        """One tile of pixels a task; the last may be short."""
        full, rest = divmod(self.work.out_width, self.tile.pixels)
        start = index * self.tile.pixels
        with self.f.when(True if not rest else index < full):
            if full:
                self._tile(first, 0, start, self.tile.pixels, inside=True)
        if rest:
            with self.f.when(index == full if full else True):
                self._tile(first, 0, full * self.tile.pixels, rest, inside=True)

    def _row(self, first: Expr, row: Expr) -> None:
        """One row of output a task: border tiles written out, the tiles between in a loop."""
        pixels = self.tile.pixels
        full, rest = divmod(self.work.out_width, pixels)
        starts = [i * pixels for i in range(full)]
        inner = [start for start in starts if self._inside(start, pixels)]
        for start in starts:
            if start in inner:
                if start == inner[0]:
                    with self.f.loop(0, len(inner), "tile") as index:
                        self._tile(first, row, inner[0] + index * pixels, pixels, inside=True)
            else:
                self._tile(first, row, start, pixels, inside=False)
        if rest:
            self._tile(first, row, full * pixels, rest, inside=self._inside(full * pixels, rest))

    def _inside(self, start: int, pixels: int) -> bool:
        """Whether no tap of these output columns falls outside the picture."""
        work = self.work
        reach = (work.kernel[1] - 1) * work.dilation[1]
        left = start * work.stride[1] - work.pad[1]
        right = (start + pixels - 1) * work.stride[1] - work.pad[1] + reach
        return left >= 0 and right < work.width

    def _tile(self, first: Expr, row: Expr, start: Expr, pixels: int, *, inside: bool) -> None:
        tile = [[self.f.register(self.lanes) for _ in range(pixels)] for _ in range(self.tile.groups)]
        for group, registers in enumerate(tile):
            bias = self.bias.vector((first + group) * self.lanes, self.lanes)
            for register in registers:
                register.set(bias)
        self._reduce(tile, first, row, start, pixels, inside)
        for group, registers in enumerate(tile):
            for pixel, register in enumerate(registers):
                self._finish(register.get(), first + group, row * self.work.out_width + start + pixel)

    def _reduce(
        self, tile: list[list[Register]], first: Expr, row: Expr, start: Expr, pixels: int, inside: bool
    ) -> None:
        work, f = self.work, self.f
        top, stop = self._kernel_rows(row)
        if work.source == "interleaved":
            with f.loop(top, stop, "kh") as kh:
                for channel in range(work.in_channels):
                    self._columns(tile, first, row, start, pixels, inside, kh, channel)
            return
        with f.loop(0, work.in_blocks, "block") as block, f.loop(top, stop, "kh") as kh:
            for kw in range(work.kernel[1]):
                taps = [p for p in range(pixels) if inside or self._column_exists(start + p, kw)]
                if taps:
                    with f.loop(0, self._channels_of(block), "c") as c:
                        self._accumulate(tile, taps, first, row, start, kh, kw, block, c)

    def _columns(
        self,
        tile: list[list[Register]],
        first: Expr,
        row: Expr,
        start: Expr,
        pixels: int,
        inside: bool,
        kh: Expr,
        channel: int,
    ) -> None:
        for kw in range(self.work.kernel[1]):
            taps = [p for p in range(pixels) if inside or self._column_exists(start + p, kw)]
            self._accumulate(tile, taps, first, row, start, kh, kw, 0, channel)

    def _accumulate(
        self,
        tile: list[list[Register]],
        taps: list[int],
        first: Expr,
        row: Expr,
        start: Expr,
        kh: Expr,
        kw: int,
        block: Expr,
        c: Expr,
    ) -> None:
        """tile[g][p] += source[pixel p under tap (kh, kw), channel] * weight[g, c, kh, kw] for all taps."""
        work = self.work
        y = row * work.stride[0] + kh * work.dilation[0] - work.pad[0]
        weights = self._weight_index(first, block, kh, kw, c)
        for p in taps:
            x = (start + p) * work.stride[1] + kw * work.dilation[1] - work.pad[1]
            value = splat(self.source[self._source_index(block, y, x, c)], self.lanes)
            for group, registers in enumerate(tile):
                weight = self.weight.vector(weights + group * self.lanes, self.lanes)
                registers[p].set(registers[p].get() + value * weight)

    def _source_index(self, block: Expr, y: Expr, x: Expr, c: Expr) -> Expr:
        work = self.work
        if work.source == "interleaved":
            return (y * work.width + x) * work.in_channels + c
        return ((block * work.height + y) * work.width + x) * self.lanes + c

    def _weight_index(self, first: Expr, block: Expr, kh: Expr, kw: int, c: Expr) -> Expr:
        """Where the `groups` vectors of one step of the reduction start."""
        work, groups = self.work, self.tile.groups
        size = work.kernel[0] * work.kernel[1]
        before = first // groups * work.in_channels * size + block * work.channel_block * size
        step = before + (kh * work.kernel[1] + kw) * self._channels_of(block) + c
        return step * groups * self.lanes

    def _channels_of(self, block: Expr) -> Expr:
        """How many real input channels a block has: the last may be short."""
        size = self.work.channel_block
        rest = self.work.in_channels % size
        if not rest:
            return size
        if self.work.in_channels < size:
            return rest
        return tirx.min(size, self.work.in_channels - block * size)

    def _kernel_rows(self, row: Expr) -> tuple[Expr, Expr]:
        """First and last + 1 kernel row that falls inside the picture for output row `row`."""
        work = self.work
        kernel, dilation = work.kernel[0], work.dilation[0]
        reach = (kernel - 1) * dilation
        lowest = (work.out_height - 1) * work.stride[0] - work.pad[0] + reach
        if work.pad[0] == 0 and lowest < work.height:
            return 0, kernel
        top = row * work.stride[0] - work.pad[0]
        start = tirx.max(0, (dilation - 1 - top) // dilation)
        stop = tirx.min(kernel, (work.height - 1 - top) // dilation + 1)
        return self.f.let("top", start), self.f.let("stop", stop)

    def _column_exists(self, x: int, kw: int) -> bool:
        column = x * self.work.stride[1] + kw * self.work.dilation[1] - self.work.pad[1]
        return 0 <= column < self.work.width

    def _finish(self, value: Expr, block: Expr, pixel: Expr) -> None:
        work, lanes = self.work, self.lanes
        plane = work.out_height * work.out_width
        index = (block * plane + pixel) * lanes
        if work.residual == "before" and self.residual:
            value = value + self.residual.vector(index, lanes)
        value = work.activation.apply(value, lanes)
        if work.residual == "after" and self.residual:
            value = value + self.residual.vector(index, lanes)
        if work.target == "blocked":
            self.target.store(index, lanes, value)
        else:
            self._store_interleaved(value, block, pixel)

    def _store_interleaved(self, value: Expr, block: Expr, pixel: Expr) -> None:
        """Write one vector of channels to [H][W][C], where the last block may be short."""
        channels, lanes = self.work.out_channels, self.lanes
        full, rest = divmod(channels, lanes)
        index = pixel * channels + block * lanes
        value = self.f.let("value", value, f"float32x{lanes}")
        with self.f.when(True if not rest else block < full):
            if full:
                self.target.store(index, lanes, value)
        if rest:
            with self.f.when(block == full):
                spill = self.f.stack(lanes)
                spill.store(0, lanes, value)
                for lane in range(rest):
                    self.target[index + lane] = spill[lane]

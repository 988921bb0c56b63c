"""Convolution k x k and pointwise, float32, channels in blocks of one vector.

Memory: activations [C/v][H][W][v] (`blocked`) or, at the network's borders, [H][W][C] (`interleaved`);
weights in the order in which they are read, see `pack_weights.pack_convolution`. A register tile of
`pixels` x `groups` vectors is kept over the whole reduction; bias, residual and activation are applied as
it is stored. Borders: see `geometry`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from mdcompiler.backends.kernels.activation import NO_ACTIVATION, Curve, Residual
from mdcompiler.backends.kernels.geometry import Geometry, Place, columns, for_tiles, rows_of
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, Register, splat

Layout = Literal["blocked", "interleaved"]
ELEMENT_BYTES = 4


@dataclass(frozen=True)
class ConvolutionShape:
    """What every convolution kernel knows, float or integer.

    lanes: channels in a block. source, target: memory layout of the input and of the output.
    """

    geometry: Geometry
    in_channels: int
    out_channels: int
    lanes: int
    source: Layout = "blocked"
    target: Layout = "blocked"

    @property
    def channel_block(self) -> int:
        """Input channels that follow one another in memory at each pixel."""
        return self.lanes if self.source == "blocked" else self.in_channels

    @property
    def in_blocks(self) -> int:
        return -(-self.in_channels // self.channel_block)

    def channels_of(self, block: Expr) -> Expr:
        """How many real input channels a block has: the last may be short."""
        size = self.channel_block
        rest = self.in_channels % size
        if not rest:
            return size
        return rest if self.in_channels < size else tirx.min(size, self.in_channels - block * size)

    @property
    def out_blocks(self) -> int:
        return -(-self.out_channels // self.lanes)

    @property
    def macs(self) -> int:
        return self.geometry.out_pixels * self.out_channels * self.geometry.taps * self.in_channels


@dataclass(frozen=True)
class Convolution(ConvolutionShape):
    """A workload.

    residual: where a second input is added: nowhere, before or after the activation. by_element: the processor
    multiplies a vector by one element of another (Arm's fmla), so input is read in vectors, not broadcast.
    """

    activation: Curve = NO_ACTIVATION
    residual: Residual = "none"
    by_element: bool = False

    def is_half_empty(self, groups: int) -> bool:
        """Whether a tile of `groups` computes only half of its last channel block, no more being in use.

        Only where a tile holds all blocks: a second loop for the last one costs more than it saves.
        """
        rest = self.out_channels % self.lanes
        return groups == self.out_blocks and self.target == "blocked" and 0 < rest <= self.lanes // 2


@dataclass(frozen=True)
class Tile:
    """What one pass over the reduction computes: `pixels` neighbours in a row, `groups` channel blocks.

    rows_outer: iterate over rows first and channel groups inside, so that a row of input stays in the
    cache; otherwise channel groups first, so that their weights stay.
    """

    pixels: int
    groups: int
    rows_outer: bool = False

    def tasks(self, geometry: Geometry, out_blocks: int) -> int:
        """Iterations of the outermost loop."""
        return rows_of(geometry, self.pixels) * (out_blocks // self.groups)

    def split(self, f: Function, geometry: Geometry, out_blocks: int, task: Expr) -> tuple[Expr, Expr]:
        """First channel block and row of a task. Raises ValueError when the groups do not divide the blocks."""
        if out_blocks % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {out_blocks} channel blocks")
        groups, rows = out_blocks // self.groups, rows_of(geometry, self.pixels)
        group, row = (task % groups, task // groups) if self.rows_outer else (task // rows, task % rows)
        return f.let("block", group * self.groups), f.let("row", row)


def tasks(work: Convolution, tile: Tile) -> int:
    """Iterations of the outermost loop."""
    return tile.tasks(work.geometry, work.out_blocks)


def each_channel(f: Function, work: Convolution, block: Expr) -> Iterator[Expr]:
    """The input channels of a block, one after the other or as a loop."""
    channels = work.channels_of(block)
    if work.by_element and isinstance(channels, int):
        yield from range(channels)
        return
    with f.loop(0, channels, "c") as c:
        yield c


def input_element(memory: Memory, start: Expr, c: Expr, work: Convolution) -> Expr:
    """The input of channel `c` of a block whose channels lie from `start` on.

    Where the processor can multiply by it there, it stays an element of the vector of the whole block.
    """
    if work.by_element and isinstance(c, int) and work.channel_block == work.lanes:
        return tirx.Shuffle([memory.vector(start, work.lanes)], [c])
    return memory[start + c]


def write_convolution(name: str, work: Convolution, tile: Tile) -> tirx.PrimFunc:
    """The kernel `name(source, weight, bias, [residual,] target, begin, end)`."""
    return ConvolutionWriter(name, work, tile).write()


class ConvolutionWriter:
    """Writes one kernel; its methods follow the loops from the outside in."""

    def __init__(self, name: str, work: Convolution, tile: Tile) -> None:
        self.work, self.tile, self.lanes = work, tile, work.lanes
        self.geometry = work.geometry.flat() if work.geometry.is_pointwise else work.geometry
        self.f = Function(name)
        self.source = self._activations("source", work.in_channels, work.geometry.pixels, work.source)
        self.weight = self.f.buffer("weight", work.out_blocks * work.in_channels * work.geometry.taps * self.lanes)
        self.bias = self.f.buffer("bias", work.out_blocks * self.lanes)
        pixels = work.geometry.out_pixels
        if work.residual != "none":
            self.residual = self._activations("residual", work.out_channels, pixels, "blocked")
        self.target = self._activations("target", work.out_channels, pixels, work.target)

    def _activations(self, name: str, channels: int, pixels: int, layout: Layout) -> Memory:
        if layout == "interleaved":
            return self.f.buffer(name, channels * pixels, alignment=ELEMENT_BYTES)
        return self.f.buffer(name, -(-channels // self.lanes) * self.lanes * pixels)

    def write(self) -> tirx.PrimFunc:
        with self.f.range() as task:
            first, row = self.tile.split(self.f, self.work.geometry, self.work.out_blocks, task)
            for_tiles(self.f, self.work.geometry, row, self.tile.pixels, lambda place: self._tile(first, place))
        return self.f.finish()

    def _widths(self) -> list[int]:
        """Lanes of each channel group that are computed."""
        whole = [self.lanes] * self.tile.groups
        return [*whole[1:], self.lanes // 2] if self.work.is_half_empty(self.tile.groups) else whole

    def _tile(self, first: Expr, place: Place) -> None:
        tile = [[self.f.register(width) for _ in range(place.pixels)] for width in self._widths()]
        for group, registers in enumerate(tile):
            bias = self.bias.vector((first + group) * self.lanes, registers[0].lanes)
            for register in registers:
                register.set(bias)
        self._reduce(tile, first, place)
        for group, registers in enumerate(tile):
            for pixel, register in enumerate(registers):
                index = place.row * self.geometry.out[1] + place.start + pixel
                self._finish(register, first + group, index)

    def _reduce(self, tile: list[list[Register]], first: Expr, place: Place) -> None:
        top, stop = self.geometry.kernel_rows(self.f, place.row)
        with self.f.loop(0, self.work.in_blocks, "in") as block, self.f.loop(top, stop, "kh") as kh:
            for kw, taps in columns(self.geometry, place):
                for c in each_channel(self.f, self.work, block):
                    self._accumulate(tile, taps, first, place, block, kh, kw, c)

    def _accumulate(
        self,
        tile: list[list[Register]],
        taps: list[int],
        first: Expr,
        place: Place,
        block: Expr,
        kh: Expr,
        kw: int,
        c: Expr,
    ) -> None:
        """tile[g][p] += source[pixel p under tap (kh, kw), c] * weight[g, c, kh, kw] for all taps."""
        weights = self._weight_index(first, block, kh, kw, c)
        y = self.geometry.source(0, place.row, kh)
        for p in taps:
            x = self.geometry.source(1, place.start + p, kw)
            value = input_element(self.source, self._source_index(block, y, x, 0), c, self.work)
            for group, registers in enumerate(tile):
                lanes = registers[p].lanes
                weight = self.weight.vector(weights + group * self.lanes, lanes)
                registers[p].set(registers[p].get() + splat(value, lanes) * weight)

    def _source_index(self, block: Expr, y: Expr, x: Expr, c: Expr) -> Expr:
        pixel = block * self.geometry.source_plane + y * self.geometry.size[1] + x
        return pixel * self.work.channel_block + c

    def _weight_index(self, first: Expr, block: Expr, kh: Expr, kw: int, c: Expr) -> Expr:
        """Where the `groups` vectors of one step of the reduction start."""
        work, taps = self.work, self.geometry.taps
        before = first // self.tile.groups * work.in_channels * taps + block * work.channel_block * taps
        step = before + (kh * self.geometry.kernel[1] + kw) * self.work.channels_of(block) + c
        return step * self.tile.groups * self.lanes

    def _finish(self, register: Register, block: Expr, pixel: Expr) -> None:
        work, lanes, value = self.work, register.lanes, register.get()
        other = (block * self.geometry.out_pixels + pixel) * self.lanes
        value = work.activation.end(value, lanes, work.residual, lambda: self.residual.vector(other, lanes))
        if work.target == "blocked":
            index = (block * self.geometry.target_plane + pixel) * self.lanes
            self.target.store(index, lanes, value)
            if lanes < self.lanes:
                self.target.store(index + lanes, lanes, splat(0.0, lanes))
        else:
            self._store_interleaved(value, block, pixel)

    def _store_interleaved(self, value: Expr, block: Expr, pixel: Expr) -> None:
        """Write one vector of channels to [H][W][C], where the last block may be short."""
        channels, lanes = self.work.out_channels, self.lanes
        full, rest = divmod(channels, lanes)
        index = pixel * channels + block * lanes
        value = self.f.let("value", value, f"float32x{lanes}")
        if full:
            with self.f.when(block < full if rest else True):
                self.target.store(index, lanes, value)
        if rest:
            with self.f.when(block == full):
                spill = self.f.stack(lanes)
                spill.store(0, lanes, value)
                for lane in range(rest):
                    self.target[index + lane] = spill[lane]

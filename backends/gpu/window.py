"""Depthwise convolution and max pooling, channels in blocks of four.

Memory: activations [C/4][H][W][4], weights [C/4][kh][kw][4]. A workgroup brings the inputs of its outputs, borders
filled, into shared memory once; each thread then slides down one column, so that a row of inputs under several window
rows is read once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.gpu.curves import apply_curve
from mdcompiler.backends.gpu.function import LANES, GpuFunction, both, div, mod, where
from mdcompiler.backends.gpu.traits import Element
from mdcompiler.backends.kernels.depthwise import Window, check_window
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, splat

_SUM = "float32x4"
_LOWEST = {"float32": -3.4028234663852886e38, "float16": -65504.0}


@dataclass(frozen=True)
class WindowTile:
    """columns, rows: threads of a workgroup over the output. thread_rows: outputs of a thread, one below the other.

    blocks: channel blocks of a workgroup.
    """

    columns: int
    rows: int
    thread_rows: int
    blocks: int

    @property
    def threads(self) -> int:
        return self.columns * self.rows * self.blocks

    def extent(self, work: Window) -> tuple[int, int]:
        """Rows and columns of the input of a workgroup."""
        (down, across), (height, width) = work.geometry.stride, work.geometry.kernel
        return (self.rows * self.thread_rows - 1) * down + height, (self.columns - 1) * across + width

    def shared_bytes(self, work: Window, element_bytes: int) -> int:
        height, width = self.extent(work)
        return self.blocks * height * width * LANES * element_bytes

    def grid(self, work: Window) -> tuple[int, int]:
        down, across = self.tiles(work)
        return down * across, -(-work.blocks // self.blocks)

    def tiles(self, work: Window) -> tuple[int, int]:
        """Workgroups along the rows and the columns of the output."""
        height, width = work.geometry.out
        return -(-height // (self.rows * self.thread_rows)), -(-width // self.columns)


def write_window(name: str, work: Window, element: Element, tile: WindowTile) -> Any:
    """The kernel `name(source, [weight, bias,] target)`. work: with lanes 4."""
    return _Writer(name, work, element, tile).write()


class _Writer:
    def __init__(self, name: str, work: Window, element: Element, tile: WindowTile) -> None:
        check_window(work)
        self.work, self.geometry, self.tile, self.element = work, work.geometry, tile, element
        self.vector = f"{element}x{LANES}"
        self.f = GpuFunction(name, tile.grid(work), tile.threads)
        self.source = self.f.buffer("source", work.blocks * self.geometry.pixels, self.vector)
        if work.operation == "convolution":
            self.weight = self.f.buffer("weight", work.blocks * self.geometry.taps, self.vector)
            self.bias = self.f.buffer("bias", work.blocks, _SUM)
        self.target = self.f.buffer("target", work.blocks * self.geometry.out_pixels, self.vector)
        self.extent = tile.extent(work)
        self.inputs = self.f.shared(tile.blocks * self.extent[0] * self.extent[1], self.vector)
        self.results = self.f.local(tile.thread_rows, _SUM)

    def write(self) -> Any:
        tiles_across = self.tile.tiles(self.work)[1]
        rows, columns = self.tile.rows * self.tile.thread_rows, self.tile.columns
        top = self.f.let("top", div(self.f.block_x, tiles_across) * rows)
        left = self.f.let("left", mod(self.f.block_x, tiles_across) * columns)
        first = self.f.let("first", self.f.block_y * self.tile.blocks)
        self._load(top, left, first)
        self.f.barrier()
        self._slide(top, left, first)
        return self.f.finish()

    def _load(self, top: Expr, left: Expr, first: Expr) -> None:
        """The workgroup's inputs to shared memory, borders filled."""
        height, width = self.extent
        count, threads = self.tile.blocks * height * width, self.tile.threads
        with self.f.loop(0, -(-count // threads), "load") as load:
            element = self.f.let("element", load * threads + self.f.thread)
            with self.f.when(element < count if count % threads else True):
                block = self.f.let("block", first + div(element, height * width))
                row = div(mod(element, height * width), width)
                y = self.f.let("y", self.geometry.source(0, top, 0) + row)
                x = self.f.let("x", self.geometry.source(1, left, 0) + mod(element, width))
                self.inputs[element] = self._input(block, y, x)

    def _input(self, block: Expr, y: Expr, x: Expr) -> Expr:
        geometry, blocks = self.geometry, self.work.blocks
        exists = both(
            block < blocks if blocks % self.tile.blocks else True,
            y >= 0,
            y < geometry.size[0],
            x >= 0,
            x < geometry.size[1],
        )
        value = self.source[block * geometry.pixels + y * geometry.size[1] + x]
        fill = _LOWEST[self.element] if self.work.operation == "max" else 0.0
        return where(exists, value, splat(fill, LANES, self.element))

    def _slide(self, top: Expr, left: Expr, first: Expr) -> None:
        f, tile = self.f, self.tile
        across, down = mod(f.thread, tile.columns), mod(div(f.thread, tile.columns), tile.rows)
        own = f.let("own", div(f.thread, tile.columns * tile.rows))
        block, column = f.let("block", first + own), f.let("column", left + across)
        row = f.let("row", down * tile.thread_rows)
        known = self.work.blocks % tile.blocks == 0
        with f.when(both(True if known else block < self.work.blocks, column < self.geometry.out[1])):
            self._outputs(own, block, row, across)
            for index in range(tile.thread_rows):
                place = f.let("place", top + row + index)
                with f.when(place < self.geometry.out[0]):
                    self._store(index, block, place * self.geometry.out[1] + column)

    def _outputs(self, own: Expr, block: Expr, row: Expr, across: Expr) -> None:
        """Column of the window by column, row of the input by row: each value read goes to all outputs that see it."""
        f, geometry, (height, width) = self.f, self.geometry, self.extent
        down = geometry.stride[0]
        for index in range(self.tile.thread_rows):
            self.results[index] = self._initial(block)
        start = f.let("start", (own * height + row * down) * width + across * geometry.stride[1])
        for kw in range(geometry.kernel[1]):
            weights = self._weights(block, kw)
            for y in range((self.tile.thread_rows - 1) * down + geometry.kernel[0]):
                seen = [(i, y - i * down) for i in range(self.tile.thread_rows) if 0 <= y - i * down < len(weights)]
                if seen:
                    value = f.let("value", self.inputs[start + y * width + kw].astype(_SUM), _SUM)
                    for index, kh in seen:
                        self.results[index] = self._take(self.results[index], value, weights[kh])

    def _weights(self, block: Expr, kw: int) -> list[Expr]:
        """A column of the window."""
        rows, columns = self.geometry.kernel
        if self.work.operation == "max":
            return [None] * rows
        places = [block * self.geometry.taps + kh * columns + kw for kh in range(rows)]
        return [self.f.let("weight", self.weight[place].astype(_SUM), _SUM) for place in places]

    def _take(self, result: Expr, value: Expr, weight: Expr) -> Expr:
        return tirx.max(result, value) if self.work.operation == "max" else result + value * weight

    def _initial(self, block: Expr) -> Expr:
        return splat(_LOWEST["float32"], LANES) if self.work.operation == "max" else self.bias[block]

    def _store(self, index: int, block: Expr, pixel: Expr) -> None:
        value = self.f.let("sum", self.results[index], _SUM)
        value = apply_curve(self.work.activation, value, LANES)
        self.target[block * self.geometry.out_pixels + pixel] = value.astype(self.vector)

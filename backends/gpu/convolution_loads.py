"""The loads of a convolution's steps: inputs and weights from global memory over registers to shared memory.

Each thread brings some of the inputs and some of the weights of a step. A step is one window position and `depth`
blocks of four input channels; where there is one block only, it is `depth` positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.gpu.convolution import PICTURE_CHANNELS, STAGES, GpuConvolution, GpuTile
from mdcompiler.backends.gpu.function import LANES, GpuFunction, both, div, mod, where
from mdcompiler.backends.kernels.geometry import Axis
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Memory, splat


@dataclass(frozen=True)
class _Pixel:
    """An output pixel that a thread loads inputs for. y, x: of its first tap."""

    y: Expr
    x: Expr


@dataclass(frozen=True)
class _Tap:
    """A window position."""

    row: Expr
    column: Expr


@dataclass(frozen=True)
class _Place:
    """A pixel of the input, and whether it is in the picture."""

    index: Expr
    exists: Expr


class Loads:
    """Writes the loads of one kernel.

    source, weight: parameters. Of the two buffers in shared memory, `inputs` holds [depth][pixels] vectors a stage,
    `weights` [depth][4][channels / 4].
    """

    def __init__(self, f: GpuFunction, problem: GpuConvolution, tile: GpuTile, source: Memory, weight: Memory) -> None:
        self.f, self.problem, self.tile, self.source, self.weight = f, problem, tile, source, weight
        geometry = problem.work.geometry
        self.geometry = geometry.flat() if geometry.is_pointwise and not problem.is_picture else geometry
        self.input_count = tile.depth * tile.pixels
        self.weight_count = tile.depth * tile.channels
        vector = f"{problem.element}x{LANES}"
        self.inputs = f.shared(STAGES * self.input_count, vector)
        self.weights = f.shared(STAGES * self.weight_count, vector)
        self._next_inputs = f.local(-(-self.input_count // tile.threads), vector)
        self._next_weights = f.local(-(-self.weight_count // tile.threads), vector)
        self._pixels = [self._pixel(mod(f.thread + i * tile.threads, tile.pixels)) for i in range(self._pixel_count)]

    @property
    def _pixel_count(self) -> int:
        """After how many loads of a thread its pixel comes again; thread and pixel counts divide each other."""
        return max(1, self.tile.pixels // self.tile.threads)

    def fetch(self, step: Expr) -> None:
        """Global memory to registers."""
        step = self.f.let("next", step)
        taps = self._taps(step)
        places = [self._place(pixel, taps[0]) for pixel in self._pixels] if len(taps) == 1 else []
        for index, element in self._elements(self.input_count):
            number = index % self._pixel_count
            place = places[number] if places else self._place(self._pixels[number], taps[index])
            with self._exists(element, self.input_count):
                self._next_inputs[index] = self._input(place, self._block(step, index))
        first = self.f.let("first", (self.f.block_y * self.problem.steps(self.tile) + step) * self.weight_count)
        for index, element in self._elements(self.weight_count):
            with self._exists(element, self.weight_count):
                self._next_weights[index] = self.weight[first + element]

    def stage(self, step: Expr) -> None:
        """Registers to the step's part of shared memory."""
        buffer = self.f.let("buffer", mod(step, STAGES))
        for index, element in self._elements(self.input_count):
            with self._exists(element, self.input_count):
                self.inputs[buffer * self.input_count + element] = self._next_inputs[index]
        for index, element in self._elements(self.weight_count):
            with self._exists(element, self.weight_count):
                self.weights[buffer * self.weight_count + element] = self._next_weights[index]

    def _pixel(self, within: Expr) -> _Pixel:
        """Beyond the last pixel is the last one again: its result is not stored."""
        f, geometry, count = self.f, self.geometry, self.problem.pixels
        pixel: Expr = f.block_x * self.tile.pixels + within
        if count % self.tile.pixels:
            pixel = tirx.min(pixel, count - 1)
        pixel = f.let("pixel", pixel)
        row = div(pixel, geometry.out[1]) if geometry.out[0] > 1 else 0
        column = mod(pixel, geometry.out[1]) if geometry.out[0] > 1 else pixel
        return _Pixel(f.let("top", geometry.source(0, row, 0)), f.let("left", geometry.source(1, column, 0)))

    def _elements(self, count: int) -> Iterator[tuple[int, Expr]]:
        """The elements of a step that a thread loads: their number for the thread, and in the step."""
        for index in range(-(-count // self.tile.threads)):
            yield index, self.f.thread + index * self.tile.threads

    def _exists(self, element: Expr, count: int) -> Any:
        """For the last load, when the threads do not divide the elements."""
        return self.f.when(element < count if count % self.tile.threads else True)

    def _slot(self, index: int) -> Expr:
        """Which of the step's `depth` blocks load `index` of a thread is from."""
        threads, pixels = self.tile.threads, self.tile.pixels
        if threads <= pixels:
            return index * threads // pixels
        return div(self.f.thread, pixels) + index * (threads // pixels)

    def _taps(self, step: Expr) -> list[_Tap]:
        """The window position of the step; of a single input block that of each load."""
        taps, columns, depth = self.geometry.taps, self.geometry.kernel[1], self.tile.depth
        numbers: list[Expr] = [mod(step, taps)]
        if self.problem.in_blocks == 1:
            numbers = [step * depth + self._slot(index) for index, _ in self._elements(self.input_count)]
        rows = (div(number, columns) if self.geometry.kernel[0] > 1 else 0 for number in numbers)
        return [
            _Tap(self.f.let("row", row), self.f.let("column", mod(number, columns)))
            for row, number in zip(rows, numbers, strict=True)
        ]

    def _block(self, step: Expr, index: int) -> Expr:
        """The input block that load `index` of a step is from."""
        if self.problem.in_blocks == 1:
            return 0
        return div(step, self.geometry.taps) * self.tile.depth + self._slot(index)

    def _place(self, pixel: _Pixel, tap: _Tap) -> _Place:
        """Where the input of a pixel under a tap is."""
        geometry = self.geometry
        y = self.f.let("y", pixel.y + tap.row * geometry.dilation[0])
        x = self.f.let("x", pixel.x + tap.column * geometry.dilation[1])
        exists = both(*self._inside(0, y), *self._inside(1, x))
        return _Place(self.f.let("place", y * geometry.size[1] + x), exists)

    def _inside(self, axis: Axis, index: Expr) -> list[Expr]:
        """Conditions for a row or column to be in the picture, as far as they are in doubt."""
        geometry = self.geometry
        last = geometry.source(axis, geometry.out[axis] - 1, geometry.kernel[axis] - 1)
        conditions = [index >= 0] if geometry.pad[axis] > 0 else []
        return [*conditions, index < geometry.size[axis]] if last >= geometry.size[axis] else conditions

    def _input(self, place: _Place, block: Expr) -> Expr:
        """Four input channels; zero outside the picture."""
        if self.problem.is_picture:
            value = self._picture(place.index)
        else:
            value = self.source[block * self.geometry.pixels + place.index]
        return where(place.exists, value, splat(0.0, LANES, self.problem.element))

    def _picture(self, place: Expr) -> Expr:
        """The three bytes of a pixel, preprocessed; the fourth channel has no weights."""
        values = [self._byte(place * PICTURE_CHANNELS + channel) for channel in range(PICTURE_CHANNELS)]
        pixel = tirx.Shuffle([*values, tirx.const(0.0, "float32")], list(range(LANES)))
        scaled = pixel * splat(self.problem.scale, LANES) + splat(self.problem.offset, LANES)
        return scaled.astype(f"{self.problem.element}x{LANES}")

    def _byte(self, index: Expr) -> Expr:
        """One byte of the picture as float32: words are little-endian."""
        shift = (mod(index, 4) * 8).astype("uint32")
        return ((self.source[div(index, 4)] >> shift) & tirx.const(255, "uint32")).astype("float32")

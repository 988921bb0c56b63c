"""The words that one stage of a convolution multiplies, on their way from memory to shared memory.

Each thread brings some words of both operands. They stay in its registers while the workgroup still multiplies the
stage before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from mdcompiler.backends.gpu.function import LANES, GpuFunction, both, div, mod, where
from mdcompiler.backends.gpu.integer_ending import VECTOR, WORD
from mdcompiler.backends.gpu.integer_instructions import signed
from mdcompiler.backends.gpu.integer_workload import GpuIntegerConvolution, IntegerTile
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Memory

_WORD_BITS = 32


@dataclass(frozen=True)
class _Slot:
    """One load that a thread does for each stage: which word of the stage, of which output pixel.

    y, x: of the input under the first tap. exists: whether the slot is inside the tile; True when it always is.
    """

    k: Expr
    pixel: Expr
    y: Expr
    x: Expr
    exists: Expr


class Stage:
    """The loads of one thread. inputs, weights: shared memory [depth][pixels] words, [depth][out_words] vectors.

    border: the word outside of the picture. first_pixel: of the workgroup's tile.
    """

    def __init__(
        self,
        f: GpuFunction,
        work: GpuIntegerConvolution,
        tile: IntegerTile,
        memory: tuple[Memory, Memory],
        border: Expr,
        first_pixel: Expr,
    ) -> None:
        self.f, self.work, self.tile = f, work, tile
        self._source, self._weight = memory
        self._border, self._first_pixel = border, first_pixel
        self.width = LANES if work.loads_vectors else 1
        self.stages = tile.stages(work)
        self.inputs = f.shared(tile.depth * tile.pixels, WORD)
        self.weights = f.shared(tile.depth * tile.out_words, VECTOR)
        units = tile.depth * tile.pixels // self.width
        self.slots = [self._slot(index, units) for index in range(-(-units // tile.threads))]
        self.held = f.local(len(self.slots) * self.width, WORD)
        self.vectors = tile.depth * tile.out_words
        self.rounds = -(-self.vectors // tile.threads)
        self.held_weights = f.local(self.rounds, VECTOR)

    @cached_property
    def _outside(self) -> tuple[bool, bool, bool, bool]:
        """Whether rows above, rows below, columns to the left and to the right of the picture are ever wanted."""
        geometry = self.work.geometry
        last = [geometry.source(axis, geometry.out[axis] - 1, geometry.kernel[axis] - 1) for axis in (0, 1)]
        below, beyond = (last[axis] >= geometry.size[axis] for axis in (0, 1))
        return geometry.pad[0] > 0, below, geometry.pad[1] > 0, beyond

    def _slot(self, index: int, units: int) -> _Slot:
        f, geometry, threads = self.f, self.work.geometry, self.tile.threads
        unit = self.f.thread + index * threads
        exists = True if (index + 1) * threads <= units else unit < units
        row = self.tile.pixels // self.width
        # a thread without a slot reads some word of the stage and does not keep it
        k = div(unit, row) if exists is True else tirx.min(div(unit, row), self.tile.depth - 1)
        k = f.let("k", k)
        last = geometry.out_pixels - self.width
        pixel = f.let("pixel", tirx.min(self._first_pixel + mod(unit, row) * self.width, last))
        if self.work.is_pointwise:
            return _Slot(k, pixel, 0, 0, exists)
        y = f.let("y", geometry.source(0, div(pixel, geometry.out[1]), 0))
        x = f.let("x", geometry.source(1, mod(pixel, geometry.out[1]), 0))
        return _Slot(k, pixel, y, x, exists)

    def fetch(self, stage: Expr) -> None:
        """Read the words of `stage`."""
        for index, slot in enumerate(self.slots):
            if self.work.loads_vectors:
                self.held.store(index * LANES, LANES, self._input(stage, slot))
            else:
                self.held[index] = self._input(stage, slot)
        start = self.f.let("start", (self.f.block_y * self.stages + stage) * self.vectors)
        for index in range(self.rounds):
            at = self.f.thread + index * self.tile.threads
            with self.f.when(self._has_weight(index)):
                self.held_weights[index] = self._weight[start + at]

    def _has_weight(self, index: int) -> Expr:
        threads = self.tile.threads
        return True if (index + 1) * threads <= self.vectors else self.f.thread + index * threads < self.vectors

    def keep(self) -> None:
        """Put the words read into shared memory."""
        for index, slot in enumerate(self.slots):
            at = (self.f.thread + index * self.tile.threads) * self.width
            with self.f.when(slot.exists):
                if self.work.loads_vectors:
                    self.inputs.store(at, LANES, self.held.vector(index * LANES, LANES))
                else:
                    self.inputs[at] = self.held[index]
        for index in range(self.rounds):
            with self.f.when(self._has_weight(index)):
                self.weights[self.f.thread + index * self.tile.threads] = self.held_weights[index]

    def _input(self, stage: Expr, slot: _Slot) -> Expr:
        """One word, or one vector of four pixels. Behind the last step any word will do: its weights are zero."""
        work, depth = self.work, self.tile.depth
        step = stage * depth + slot.k
        if self.stages * depth > work.steps:
            step = self.f.let("step", tirx.min(step, work.steps - 1))
        if work.is_pointwise:
            index = (step * work.geometry.out_pixels + slot.pixel) // self.width
            return signed(self._source[index], self.width)
        if work.in_words % depth == 0:
            stages = work.in_words // depth
            tap, channel = div(stage, stages), mod(stage, stages) * depth + slot.k
        else:
            tap, channel = div(step, work.in_words), mod(step, work.in_words)
        return self._tapped(self.f.let("tap", tap), self.f.let("channel", channel), slot)

    def _tapped(self, tap: Expr, channel: Expr, slot: _Slot) -> Expr:
        geometry = self.work.geometry
        y = self.f.let("y", slot.y + div(tap, geometry.kernel[1]) * geometry.dilation[0])
        x = self.f.let("x", slot.x + mod(tap, geometry.kernel[1]) * geometry.dilation[1])
        above, below, left, right = self._outside
        inside = both(
            y >= 0 if above else True,
            y < geometry.size[0] if below else True,
            x >= 0 if left else True,
            x < geometry.size[1] if right else True,
        )
        place = y * geometry.size[1] + x
        if self.work.source == "picture":
            return where(inside, signed(self._pixel(place)), self._border)
        return where(inside, signed(self._source[channel * geometry.pixels + place]), self._border)

    def _pixel(self, place: Expr) -> Expr:
        """The bytes of a picture's pixel as a word, whatever follows them in the bytes that are left.

        They may lie in two words; two shifts of the second keep each below 32.
        """
        work, source = self.work, self._source
        byte = place * work.in_channels
        last = work.source_words - 1
        first = tirx.reinterpret("uint32", source[div(byte, LANES)])
        second = tirx.reinterpret("uint32", source[tirx.min(div(byte, LANES) + 1, last)])
        bits = (mod(byte, LANES) * 8).astype("uint32")
        rest = second << (tirx.const(_WORD_BITS - 1, "uint32") - bits) << tirx.const(1, "uint32")
        return tirx.reinterpret("int32", (first >> bits) | rest)

"""The first function of a Winograd convolution (see `winograd`): all patches of the input, transformed.

Patches that a border cuts have code of their own, in which what lies outside is zero and costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from mdcompiler.backends.kernels.convolution import ELEMENT_BYTES, Convolution
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function, splat
from mdcompiler.backends.kernels.winograd import patch_bytes, patches
from mdcompiler.backends.kernels.winograd_combine import combine
from mdcompiler.backends.kernels.winograd_matrices import TAPS, transforms


def write_winograd_source(name: str, work: Convolution, outputs: int) -> tirx.PrimFunc:
    """The function `name(source, patches, begin, end)`."""
    return _Writer(name, work, outputs).write()


class _Writer:
    def __init__(self, name: str, work: Convolution, outputs: int) -> None:
        self.work, self.outputs, self.lanes = work, outputs, work.lanes
        self.size = outputs + TAPS - 1
        self.rows, self.columns = patches(work, outputs)
        self.f = Function(name)
        self.source = self.f.buffer("source", work.in_blocks * work.geometry.pixels * self.lanes)
        self.patches = self.f.buffer("patches", patch_bytes(work, outputs) // ELEMENT_BYTES)

    def write(self) -> tirx.PrimFunc:
        with self.f.range() as task:
            block = self.f.let("block", task // self.rows)
            row = self.f.let("row", task % self.rows)
            for rows, first_row in _border_runs(self.rows, self._rows_inside):
                with self.f.when(_between(row, first_row, rows, self.rows)):
                    for count, first in _border_runs(self.columns, self._columns_inside):
                        with self.f.loop(0, count, "patch") as index:
                            self._patch(block, row, first_row, first + index, first)
        return self.f.finish()

    def _rows_inside(self, row: int) -> tuple[int, ...]:
        return self._inside(row, self.work.geometry.pad[0], self.work.geometry.size[0])

    def _columns_inside(self, column: int) -> tuple[int, ...]:
        return self._inside(column, self.work.geometry.pad[1], self.work.geometry.size[1])

    def _inside(self, index: int, pad: int, size: int) -> tuple[int, ...]:
        """Which of the rows (or columns) of patch `index` are inside the picture."""
        start = index * self.outputs - pad
        return tuple(i for i in range(self.size) if 0 <= start + i < size)

    def _patch(self, block: Expr, row: Expr, like_row: int, column: Expr, like_column: int) -> None:
        """One patch; `like_row` and `like_column` are patches with the same borders, known now."""
        inside = self._columns_inside(like_column)
        partial = [
            self._transform([self._load(block, row, like_row, column, i, j, inside) for i in range(self.size)])
            for j in range(self.size)
        ]
        patch = row * self.columns + column
        for i in range(self.size):
            for j, value in enumerate(self._transform([partial[j][i] for j in range(self.size)])):
                point = i * self.size + j
                index = ((point * self.work.in_blocks + block) * self.rows * self.columns + patch) * self.lanes
                self.patches.store(index, self.lanes, value if value is not None else splat(0.0, self.lanes))

    def _load(
        self, block: Expr, row: Expr, like_row: int, column: Expr, i: int, j: int, inside: tuple[int, ...]
    ) -> Expr | None:
        if i not in self._rows_inside(like_row) or j not in inside:
            return None
        height, width = self.work.geometry.size
        y = row * self.outputs - self.work.geometry.pad[0] + i
        x = column * self.outputs - self.work.geometry.pad[1] + j
        return self.source.vector(((block * height + y) * width + x) * self.lanes, self.lanes)

    def _transform(self, values: list[Expr | None]) -> list[Expr | None]:
        return combine(self.f, transforms(self.outputs).source, values, self.lanes)


def _border_runs(count: int, inside: Callable[[int], tuple[int, ...]]) -> list[tuple[int, int]]:
    """Runs of neighbours with the same borders: (how many, the first)."""
    runs: list[tuple[int, int]] = []
    for index in range(count):
        if runs and inside(index) == inside(runs[-1][1]):
            runs[-1] = (runs[-1][0] + 1, runs[-1][1])
        else:
            runs.append((1, index))
    return runs


def _between(index: Expr, first: int, count: int, limit: int) -> Expr:
    """first <= index < first + count, where it can be wrong."""
    if count == limit:
        return True
    return tirx.all(index >= first, index < first + count)

"""Writing a GPU kernel as TIR: `kernels.tir.Function` with threads, shared memory and barriers.

    f = GpuFunction("double", grid=(4, 1), threads=64)
    source, target = f.buffer("source", 256, "float32x4"), f.buffer("target", 256, "float32x4")
    i = f.block_x * 64 + f.thread
    target[i] = source[i] + source[i]
    f.finish()

A buffer of dtype `float32x4` is addressed in vectors of four: one 16-byte load or store each. Threads of a workgroup
have one index, workgroups two. Whatever stands between two barriers may run in any order.
"""

from __future__ import annotations

from typing import Any

from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Function, Memory

LANES = 4
"""Channels of one block of an activation: what one load of 16 bytes brings."""


class GpuFunction(Function):
    """One GPU kernel under construction.

    grid: workgroups along x and y. threads: of one workgroup.
    """

    def __init__(self, name: str, grid: tuple[int, int], threads: int) -> None:
        super().__init__(name)
        self.threads = threads
        self._bound = [
            _thread("blockIdx.x", grid[0]),
            _thread("blockIdx.y", grid[1]),
            _thread("threadIdx.x", threads),
        ]
        self.block_x, self.block_y, self.thread = (axis.var for axis, _ in self._bound)

    def shared(self, size: int, dtype: str = "float32x4") -> Memory:
        """Memory of the workgroup, `size` elements; its content is undefined at first."""
        return self._allocate(size, dtype, "shared")

    def local(self, size: int, dtype: str = "float32x4") -> Memory:
        """Memory of the thread: registers, when every index into it is a constant."""
        return self._allocate(size, dtype, "local")

    def barrier(self) -> None:
        """All threads of the workgroup arrive here before any goes on; shared memory is consistent afterwards.

        Must be reached by all threads: never write one under a condition that differs between threads.
        """
        self.emit(tirx.Evaluate(tirx.call_intrin("int32", "tirx.tvm_storage_sync", "shared")))

    def finish(self) -> Any:
        """The kernel as TIR, its loops over threads as `thread_extent` attributes."""
        body = self.body()
        for axis, extent in reversed(self._bound):
            body = tirx.AttrStmt(axis, "thread_extent", tirx.const(extent, "int32"), body)
        function = tirx.PrimFunc(self._parameters, body)
        return function.with_attr("global_symbol", self.name).with_attr("tirx.noalias", True)

    def _allocate(self, size: int, dtype: str, scope: str) -> Memory:
        handle = tirx.decl_buffer((size,), dtype, self._fresh(scope), scope=scope)
        self.emit(tirx.AllocBuffer(handle))
        return Memory(self, handle)


def _thread(tag: str, extent: int) -> tuple[Any, int]:
    variable = tirx.Var(tag.replace(".", "_"), "int32")
    return tirx.IterVar(None, variable, tirx.IterVar.ThreadIndex, tag), extent


def div(value: Expr, divisor: int) -> Expr:
    """`value // divisor` for `value` >= 0: what the compiler need not prove."""
    if isinstance(value, int) or divisor == 1:
        return value // divisor if isinstance(value, int) else value
    return tirx.truncdiv(value, divisor)


def mod(value: Expr, divisor: int) -> Expr:
    """`value % divisor` for `value` >= 0."""
    if isinstance(value, int) or divisor == 1:
        return value % divisor if isinstance(value, int) else 0
    return tirx.truncmod(value, divisor)


def both(*conditions: Expr) -> Expr:
    """All of `conditions`, those known already left out; a bool when all are known."""
    open_ones = [item for item in conditions if not isinstance(item, bool)]
    if not all(item for item in conditions if isinstance(item, bool)):
        return False
    return tirx.all(*open_ones) if open_ones else True


def where(condition: Expr, value: Expr, other: Expr) -> Expr:
    """`value` where `condition` holds, else `other`; `value` is not evaluated where it does not."""
    if isinstance(condition, bool):
        return value if condition else other
    return tirx.if_then_else(condition, value, other)


def lane(vector: Expr, index: int) -> Expr:
    """Element `index` of a vector."""
    return tirx.Shuffle([vector], [index])


def spread(scalar: Expr, lanes: int = LANES) -> Expr:
    """A vector of equal elements."""
    return tirx.Broadcast(scalar, lanes)

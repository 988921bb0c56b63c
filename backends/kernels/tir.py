"""Writing TIR from Python, statement by statement.

TVM's text front end parses Python source; the templates here decide much in Python (which taps of a
border tile exist, how many accumulators there are), so they build the tree directly. A `Function`
collects parameters and statements:

    f = Function("copy")
    source, target = f.buffer("source", 64), f.buffer("target", 64)
    with f.range() as i:
        target[i] = source[i]
    f.finish()

Buffers are flat and are addressed in elements; `buffer.vector(i, lanes)` is `lanes` elements from i.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.kernels.later import tirx

Expr = Any
"""A tirx expression or a Python number: tirx has no common static type for both."""

_STACK_BYTES = 1024
"""TVM keeps a constant-sized buffer on the stack (and LLVM then in registers) below this size."""


@dataclass(frozen=True)
class Memory:
    """A flat buffer that a `Function` reads and writes."""

    function: Function
    handle: Any

    def __getitem__(self, index: Expr) -> Expr:
        return tirx.BufferLoad(self.handle, [index])

    def __setitem__(self, index: Expr, value: Expr) -> None:
        self.function.emit(tirx.BufferStore(self.handle, value, [index]))

    def vector(self, start: Expr, lanes: int) -> Expr:
        """Load `lanes` elements from `start` on."""
        return self[ramp(start, lanes)]

    def store(self, start: Expr, lanes: int, value: Expr) -> None:
        """Write the vector `value` to `start` and the elements after it."""
        self[ramp(start, lanes)] = value


class Register:
    """A vector variable that lives in one register between loops."""

    def __init__(self, function: Function, memory: Memory, lanes: int) -> None:
        self._memory = memory
        self.lanes = lanes

    def get(self) -> Expr:
        return self._memory.vector(0, self.lanes)

    def set(self, value: Expr) -> None:
        self._memory.store(0, self.lanes, value)


class Function:
    """One kernel function under construction."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._parameters: list[Any] = []
        self._bodies: list[list[Any]] = [[]]
        self._count = 0
        self.begin = tirx.Var("begin", "int32")
        self.end = tirx.Var("end", "int32")

    def buffer(self, name: str, size: int, dtype: str = "float32", alignment: int = 64) -> Memory:
        """A parameter: `size` elements at an address that is a multiple of `alignment` bytes."""
        handle = tirx.decl_buffer((size,), dtype, name, data_alignment=alignment)
        self._parameters.append(handle)
        return Memory(self, handle)

    def register(self, lanes: int, dtype: str = "float32") -> Register:
        """A vector variable of `lanes` elements."""
        return Register(self, self.stack(lanes, dtype), lanes)

    def stack(self, size: int, dtype: str = "float32") -> Memory:
        """A small buffer on the stack; at most 1024 bytes, or TVM would ask its runtime for memory."""
        if size * 4 > _STACK_BYTES:
            raise ValueError(f"a stack buffer of {size} elements is too large; pass it as a parameter")
        handle = tirx.decl_buffer((size,), dtype, self._fresh("r"))
        self.emit(tirx.AllocBuffer(handle))
        return Memory(self, handle)

    def let(self, name: str, value: Expr, dtype: str = "int32") -> Expr:
        """Compute `value` once and return it as a variable."""
        if isinstance(value, int | float):
            return value
        variable = tirx.Var(self._fresh(name), dtype)
        self.emit(tirx.Bind(variable, value))
        return variable

    @contextmanager
    def loop(self, start: Expr, stop: Expr, name: str = "i") -> Iterator[Expr]:
        """`for name in range(start, stop)`; a loop known to run once is no loop."""
        if isinstance(start, int) and isinstance(stop, int) and stop - start == 1:
            yield start
            return
        variable = tirx.Var(self._fresh(name), "int32")
        body = self._nested()
        with body as statements:
            yield variable
        self.emit(tirx.For(variable, start, stop - start, tirx.ForKind.SERIAL, _sequence(statements)))

    @contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """`if condition:`; a Python bool decides here and now."""
        if isinstance(condition, bool):
            with self._nested() as statements:
                yield
            if condition:
                self._bodies[-1].extend(statements)
            return
        with self._nested() as statements:
            yield
        self.emit(tirx.IfThenElse(condition, _sequence(statements), None))

    def range(self) -> Any:
        """The outermost loop, over the iterations [begin, end) that the caller asks for."""
        return self.loop(self.begin, self.end, "task")

    def emit(self, statement: Any) -> None:
        self._bodies[-1].append(statement)

    def body(self) -> Any:
        """The statements written so far, as one."""
        return _sequence(self._bodies[0])

    def finish(self) -> tirx.PrimFunc:
        """The function as TIR."""
        function = tirx.PrimFunc([*self._parameters, self.begin, self.end], self.body())
        return function.with_attr("global_symbol", self.name).with_attr("tirx.noalias", True)

    @contextmanager
    def _nested(self) -> Iterator[list[Any]]:
        statements: list[Any] = []
        self._bodies.append(statements)
        yield statements
        self._bodies.pop()

    def _fresh(self, name: str) -> str:
        self._count += 1
        return f"{name}{self._count}"


def _sequence(statements: list[Any]) -> Any:
    if not statements:
        return tirx.Evaluate(tirx.const(0, "int32"))
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)


def ramp(start: Expr, lanes: int) -> Expr:
    """The indices start, start + 1, … of a vector."""
    return start if lanes == 1 else tirx.Ramp(start, 1, lanes)


def vector_type(dtype: str, lanes: int) -> str:
    """The name of the type of a vector of `lanes` elements; one element is a scalar."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def splat(value: Expr, lanes: int, dtype: str = "float32") -> Expr:
    """A vector of `lanes` equal elements."""
    scalar = tirx.const(value, dtype) if isinstance(value, int | float) else value
    return scalar if lanes == 1 else tirx.Broadcast(scalar, lanes)

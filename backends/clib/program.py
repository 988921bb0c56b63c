"""`Program`: the network as a sequence of C calls over named buffers.

It is what the kernels of the graph become just before code is written: no decision is taken after it
but where each buffer lies in the arena.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import InternalError


class FunctionSource(Protocol):
    """A kernel function yet to be written: hashable, picklable, the same words give the same code."""

    @property
    def symbol(self) -> str: ...

    def write(self) -> Any:
        """The function as TIR."""
        ...


@dataclass(frozen=True)
class Call:
    """One call.

    kernel: whom it is done for, as in the graph. code: a C expression with `{0}`, `{1}` … for the
    pointers and, when `tasks` > 1, the variables `begin` and `end`. reads, writes: buffers and constants;
    `{i}` counts over reads, then writes. tasks: iterations that a thread pool may share out.
    in_place: reads[0] and writes[0] may be the same memory. scratch: a buffer for the time of the call, `{scratch}`
    in the code; every thread has one of its own. function: the template that `code` calls, if it is one.
    shares: into how many parts a thread's iterations are cut.
    """

    kernel: str
    code: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    tasks: int = 1
    in_place: bool = False
    scratch: str = ""
    function: FunctionSource | None = None
    shares: int = 4

    @property
    def symbols(self) -> tuple[str, ...]:
        """The template functions that it calls."""
        return (self.function.symbol,) if self.function else ()

    def statement(self, pointers: Sequence[str], scratch: str) -> str:
        """C statements that do iterations [begin, end) and return 0 on success."""
        return f"return {self.code.format(*pointers, scratch=scratch)};"


@dataclass(frozen=True)
class View:
    """`part` is the memory of `whole` from `offset_bytes` on, once both exist. Order: as in the calls."""

    kernel: str
    part: str
    whole: str
    offset_bytes: int
    size_bytes: int
    part_is_new: bool
    """True for a reshape (`part` is made from `whole`), False for a concat (`whole` is made of parts)."""


@dataclass
class Program:
    """inputs, outputs: buffers that the caller owns. sizes: bytes of every other buffer."""

    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)
    steps: list[Call | View] = field(default_factory=list)
    functions: dict[str, FunctionSource] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    prototypes: dict[str, str] = field(default_factory=dict)
    """Symbol of every function in `functions` and `objects` -> its parameters in C."""

    def buffer(self, name: str, size_bytes: int) -> str:
        """Declare a buffer; declaring it twice with two sizes is a fault."""
        if self.sizes.setdefault(name, size_bytes) != size_bytes:
            raise InternalError(f"buffer {name} has {self.sizes[name]} bytes and {size_bytes} bytes.")
        return name

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add a constant; the same name always means the same values."""
        self.constants[name] = np.ascontiguousarray(values)
        return name

    def call(
        self,
        kernel: str,
        function: FunctionSource,
        reads: tuple[str, ...],
        writes: tuple[str, ...],
        tasks: int,
        in_place: bool = False,
        scratch_bytes: int = 0,
    ) -> None:
        """Call a template's function over all its tasks. Its pointers: reads, writes and, if it needs any, scratch."""
        places = [f"{{{index}}}" for index in range(len(reads) + len(writes))]
        scratch = self.buffer(f"{kernel}:{function.symbol}:scratch", scratch_bytes) if scratch_bytes else ""
        pointers = [*places, "{scratch}"] if scratch else places
        self.declare(function, len(pointers))
        code = f"{function.symbol}({', '.join(pointers)}, begin, end)"
        self.steps.append(Call(kernel, code, reads, writes, tasks, in_place, scratch, function))

    def forget_unused_functions(self) -> None:
        """Drop template functions that no call names any more."""
        named = {symbol for call in self.calls for symbol in call.symbols}
        for symbol in self.functions.keys() - named:
            del self.functions[symbol], self.prototypes[symbol]

    def declare(self, function: FunctionSource, pointers: int) -> None:
        """A function over a range of iterations that some call's code names."""
        self.functions[function.symbol] = function
        self.prototypes[function.symbol] = f"{voids(pointers)}, int32_t begin, int32_t end"

    @property
    def calls(self) -> list[Call]:
        return [step for step in self.steps if isinstance(step, Call)]


def voids(count: int) -> str:
    """The C parameters of a function of `count` pointers, untyped: C calls them all alike."""
    return ", ".join(["void *"] * count)

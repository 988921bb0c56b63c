"""Candidates of the tuner: one schedule of one workload, built in a child process that may die of it."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from mdcompiler.backends.clib.candidate_worker import HEADER
from mdcompiler.backends.clib.child import Child, ChildDied
from mdcompiler.target import Target

_WORKER = "mdcompiler.backends.clib.candidate_worker"
_BUILD_SECONDS = 60.0
Step = tuple[Any, int]
"""A function source and how many iterations it has."""


@dataclass(frozen=True)
class Buffer:
    """A pointer parameter: its name, dtype and elements."""

    name: str
    dtype: str
    elements: int

    @property
    def slot(self) -> str:
        """Parameters of one slot are the same memory."""
        return f"{self.name}:{self.dtype}"


@dataclass(frozen=True)
class Function:
    """A built function. code: an object file, or a library for RPC."""

    symbol: str
    buffers: tuple[Buffer, ...]
    code: bytes


@dataclass(frozen=True)
class Candidate:
    """What does a workload once: functions one after the other, each over all its iterations."""

    steps: tuple[tuple[Function, int], ...]

    @property
    def pointers(self) -> list[Buffer]:
        """The parameters of all functions in order."""
        return [buffer for function, _ in self.steps for buffer in function.buffers]


class Builder:
    """Builds candidates one by one; what was built once is remembered."""

    def __init__(self, target: Target, packed: bool = False) -> None:
        self._target = target
        self._child = Child(_WORKER, "packed" if packed else "plain")
        self._built: dict[str, Function | str] = {}

    def __enter__(self) -> Builder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.__exit__(kind, error, trace)

    def build(self, steps: Sequence[Step]) -> Candidate | str:
        """The candidate, or why there is none."""
        made: list[tuple[Function, int]] = []
        for source, tasks in steps:
            function = self._function(source)
            if isinstance(function, str):
                return function
            made.append((function, tasks))
        return Candidate(tuple(made))

    def _function(self, source: Any) -> Function | str:
        if source.symbol not in self._built:
            self._built[source.symbol] = self._build(source)
        return self._built[source.symbol]

    def _build(self, source: Any) -> Function | str:
        try:
            self._child.send(pickle.dumps((source, dict(self._target.llvm), self._target.zig)))
            answer = self._child.receive(_BUILD_SECONDS)
        except ChildDied as death:
            return f"building: {death}"
        if answer[:1] != b"+":
            return f"building: {answer[1:].decode(errors='replace')}"
        start = 1 + HEADER.size
        end = start + HEADER.unpack_from(answer, 1)[0]
        buffers = tuple(Buffer(*item) for item in json.loads(answer[start:end]))
        return Function(source.symbol, buffers, answer[end:])


def shared_buffers(candidates: Iterable[Candidate]) -> dict[str, Buffer]:
    """One buffer for each slot of `candidates`, the largest that any of them wants."""
    found: dict[str, Buffer] = {}
    for buffer in (buffer for candidate in candidates for buffer in candidate.pointers):
        if buffer.slot not in found or found[buffer.slot].elements < buffer.elements:
            found[buffer.slot] = buffer
    return found

"""The child process that times candidates on one core of this machine. It imports nothing but the standard library.

One message is a library and the candidates in it that are compared. They take turns, so that all of them see the
same noise; those far behind leave, and the best few are repeated. Weights and
other constants are read from another copy on every call, as many as exceed L2, for in a network they were
not used since the last run; inputs and outputs stay where the kernel before left them.

Before the first call of a candidate its number is sent: if that kills this process, the parent knows whom to blame.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import random
import struct
import sys
from array import array
from typing import Any

_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 64
_STAY = ("source", "target", "residual", "patches", "scratch")
"""Buffers that the kernel before wrote or the next one reads: the same on every call."""
_MOST_COPIES = 64
_BATCH_NS = 100_000
_MOST_CALLS = 20_000
_ROUNDS, _MORE_ROUNDS = 12, 20
_PATIENCE = 4
"""Rounds that everyone stays in."""
_BEHIND, _BEST = 1.3, 4
_TABLE = 4096
"""Elements of the pattern that buffers are filled with."""
_TYPES = {"float32": "f", "int32": "i", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int64": "q"}


def main() -> None:
    """Serve until the parent closes the pipe."""
    os.sched_setaffinity(0, {int(sys.argv[1])})
    while size := sys.stdin.buffer.read(_LENGTH.size):
        request = json.loads(sys.stdin.buffer.read(_LENGTH.unpack(size)[0]))
        _send({"done": _Measuring(request).run()})


def _send(answer: Any) -> None:
    data = json.dumps(answer).encode()
    sys.stdout.buffer.write(_LENGTH.pack(len(data)) + data)
    sys.stdout.buffer.flush()


class _Measuring:
    """One request. members: candidate -> the slots behind its pointers; buffers: slot -> name, dtype, elements."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._library = ctypes.CDLL(request["library"])
        self._library.mdc_measure.restype = ctypes.c_uint64
        self._buffers: dict[str, tuple[str, str, int]] = request["buffers"]
        self._beyond: int = request["beyond_bytes"]
        self._memory: dict[str, list[int]] = {}
        self._kept: list[Any] = []
        self._tables = {member: self._table(slots) for member, slots in request["members"]}
        self._times: dict[int, list[float]] = {}
        self._calls: dict[int, int] = {}

    def run(self) -> dict[int, list[float]]:
        """Candidate -> nanoseconds of one call in each batch."""
        for member in self._tables:
            _send({"trying": member})
            self._calls[member] = self._calibrate(member)
            self._times[member] = []
        alive = list(self._tables)
        for turn in range(_ROUNDS):
            self._round(alive, turn)
            if turn < _PATIENCE:
                continue
            best = min(min(self._times[member]) for member in alive)
            alive = [member for member in alive if min(self._times[member]) <= _BEHIND * best]
        alive = sorted(alive, key=lambda member: min(self._times[member]))[:_BEST]
        for turn in range(_MORE_ROUNDS):
            self._round(alive, turn)
        return self._times

    def _calibrate(self, member: int) -> int:
        """Calls of one batch: as many as fill its time once everything is warm."""
        self._time(member, 1)
        calls = 1
        while calls < _MOST_CALLS and (spent := self._time(member, calls) * calls) < _BATCH_NS / 2:
            calls = min(_MOST_CALLS, calls * max(2, int(_BATCH_NS / max(spent, 1.0) / 2)))
        return calls

    def _round(self, members: list[int], turn: int) -> None:
        """One batch of each, from the other end every time."""
        for member in members[:: 1 - 2 * (turn % 2)]:
            self._times[member].append(self._time(member, self._calls[member]))

    def _time(self, member: int, calls: int) -> float:
        """Nanoseconds of one call, the mean of `calls`."""
        pointers, copies = self._tables[member]
        return int(self._library.mdc_measure(member, pointers, copies, calls)) / calls

    def _table(self, slots: list[str]) -> tuple[Any, int]:
        """Pointers of all copies of a candidate's parameters, and how many copies there are."""
        moving = sum(self._bytes(slot) for slot in set(slots) if not self._stays(slot))
        copies = min(_MOST_COPIES, math.ceil(self._beyond / moving) + 1) if moving else 1
        flat = [self._address(slot, 0 if self._stays(slot) else copy) for copy in range(copies) for slot in slots]
        return (ctypes.c_void_p * len(flat))(*flat), copies

    def _stays(self, slot: str) -> bool:
        return self._buffers[slot][0] in _STAY

    def _bytes(self, slot: str) -> int:
        _, dtype, elements = self._buffers[slot]
        return elements * array(_TYPES[dtype]).itemsize

    def _address(self, slot: str, copy: int) -> int:
        copies = self._memory.setdefault(slot, [])
        while len(copies) <= copy:
            copies.append(self._allocate(slot))
        return copies[copy]

    def _allocate(self, slot: str) -> int:
        """Aligned memory full of small numbers: no infinities and no denormals, which would be slow."""
        size = self._bytes(slot)
        memory = (ctypes.c_uint8 * (size + 2 * _ALIGNMENT))()
        start = -ctypes.addressof(memory) % _ALIGNMENT
        pattern = _pattern(_TYPES[self._buffers[slot][1]])
        view = memoryview(memory).cast("B")
        for offset in range(0, size, len(pattern)):
            length = min(len(pattern), size - offset)
            view[start + offset : start + offset + length] = pattern[:length]
        self._kept.append(memory)
        return ctypes.addressof(memory) + start


def _pattern(code: str) -> bytes:
    chance = random.Random(0)  # noqa: S311 - data to compute with
    if code == "f":
        return array(code, [chance.uniform(0.01, 1.0) * chance.choice((-1, 1)) for _ in range(_TABLE)]).tobytes()
    return array(code, [chance.randrange(100 if code != "i" else 8) for _ in range(_TABLE)]).tobytes()


if __name__ == "__main__":
    main()

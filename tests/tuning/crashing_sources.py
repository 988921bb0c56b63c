"""Function sources that a child process has to survive: one that aborts while it is written, one that crashes when
it runs, one that is refused, and one that is good."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.kernels.tir import Function
from mdcompiler.tuning.record import Schedule

FAR = 1 << 30
"""Elements away from the buffer: no memory of this process."""


@dataclass(frozen=True)
class Copy:
    """Copies 16 floats for each iteration; `fault` is what goes wrong."""

    fault: str

    @property
    def symbol(self) -> str:
        return f"copy_{self.fault}"

    def write(self) -> Any:
        if self.fault == "abort":
            os.abort()
        if self.fault == "refuse":
            raise ValueError("no such tile")
        f = Function(self.symbol)
        source, target = f.buffer("source", 64), f.buffer("target", 64)
        with f.range() as task:
            index = task * 16 + (FAR if self.fault == "crash" else 0)
            target.store(index, 16, source.vector(task * 16, 16))
        return f.finish()


def steps(schedule: Schedule) -> list[tuple[Copy, int]]:
    return [(Copy(str(schedule["fault"])), 4)]

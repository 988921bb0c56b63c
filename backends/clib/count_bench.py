"""A tuner's bench that counts under an emulator: what one run of a candidate takes, the same on every run."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from mdcompiler.backends.clib.candidates import Builder, Candidate
from mdcompiler.errors import InternalError
from mdcompiler.target import Target
from mdcompiler.tuning.record import Measurement, Schedule
from mdcompiler.tuning.tunable import Job

Self = TypeVar("Self", bound="CountBench")
_SECONDS = 600


class CountBench(ABC):
    """Builds candidates for `target` and counts them, many in one program."""

    def __init__(self, target: Target) -> None:
        self._builder = Builder(target)

    @abstractmethod
    def count(self, candidates: Sequence[Candidate]) -> list[int]:
        """The cost of each candidate, run by one program. Raises InternalError when that program fails."""

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._builder.__exit__(kind, error, trace)

    def measure(self, jobs: Sequence[tuple[Job, Sequence[Schedule]]]) -> list[list[Measurement]]:
        """See `Bench.measure`: the cost of one run of each candidate."""
        groups = [[self._builder.build(job.subject(schedule)) for schedule in schedules] for job, schedules in jobs]
        counts = iter(self._counted([item for group in groups for item in group if isinstance(item, Candidate)]))
        return [
            [
                _measurement(schedule, item if isinstance(item, str) else next(counts))
                for schedule, item in zip(schedules, group, strict=True)
            ]
            for (_, schedules), group in zip(jobs, groups, strict=True)
        ]

    def _counted(self, candidates: Sequence[Candidate]) -> list[int | str]:
        """Of each candidate its cost or what went wrong. When the program dies each gets one of its own."""
        if not candidates:
            return []
        try:
            return list(self.count(candidates))
        except InternalError as error:
            if len(candidates) == 1:
                return [f"running: {error}"]
        return [found for candidate in candidates for found in self._counted([candidate])]


def run_program(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `command` in `folder`. Raises InternalError when it takes too long."""
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InternalError(f"{command[0]} took more than {_SECONDS} s") from error


def _measurement(schedule: Schedule, outcome: int | str) -> Measurement:
    if isinstance(outcome, str):
        return Measurement(schedule=schedule, failure=outcome[:400])
    return Measurement(schedule=schedule, min_ns=outcome, median_ns=outcome)

"""The tuner's bench on this machine: candidates linked to one library, timed by a loop in C on one core.

Kernels are plain C functions, so the loop calls them as the network does and reads the clock of the thread:
what other processes take is not counted. TVM's time_evaluator would need TVM in the measuring process,
another calling convention and the wall clock.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from mdcompiler.backends.clib.candidates import Builder, Candidate, shared_buffers
from mdcompiler.backends.clib.child import Child, ChildDied
from mdcompiler.backends.clib.link import compiler_command
from mdcompiler.errors import InternalError
from mdcompiler.scratch import scratch_folder, tools_environment
from mdcompiler.target import Target
from mdcompiler.tuning.record import Measurement, Schedule
from mdcompiler.tuning.tunable import Job

_WORKER = "mdcompiler.backends.clib.measure_worker"
_STEP_SECONDS = 60.0
Outcome = list[float] | str
"""Nanoseconds of a call in each batch, or why there are none."""
_FLAGS = ("-std=c11", "-O2", "-fPIC", "-shared")
_LOOP = """
uint64_t mdc_measure(int candidate, void **pointers, int copies, int calls) {
    static unsigned next;
    struct timespec start, end;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    for (int i = 0; i < calls; ++i) {
        void **copy = pointers + (size_t)(next++ % (unsigned)copies) * COUNTS[candidate];
        CANDIDATES[candidate](copy);
    }
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    return (uint64_t)(end.tv_sec - start.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec - (uint64_t)start.tv_nsec;
}
"""


class LocalBench:
    """Measures on the last core that this process may use."""

    def __init__(self, target: Target) -> None:
        self._builder = Builder(target)
        self._child = Child(_WORKER, str(max(os.sched_getaffinity(0))))
        self._beyond_bytes = 2 * target.l2_bytes

    def __enter__(self) -> LocalBench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._builder.__exit__(kind, error, trace)
        self._child.__exit__(kind, error, trace)

    def measure(self, jobs: Sequence[tuple[Job, Sequence[Schedule]]]) -> list[list[Measurement]]:
        """See `Bench.measure`."""
        groups = [[self._builder.build(job.subject(schedule)) for schedule in schedules] for job, schedules in jobs]
        candidates = [item for group in groups for item in group if isinstance(item, Candidate)]
        with scratch_folder("tune") as folder:
            library = _link(candidates, folder) if candidates else ""
            outcomes = self._outcomes(groups, candidates, library)
        return [
            [measurement(*pair) for pair in zip(schedules, found, strict=True)]
            for (_, schedules), found in zip(jobs, outcomes, strict=True)
        ]

    def _outcomes(
        self, groups: list[list[Candidate | str]], candidates: list[Candidate], library: str
    ) -> list[list[Outcome]]:
        """Of each candidate its times or what went wrong. Those of a group are timed together."""
        start, outcomes = 0, []
        for group in groups:
            end = start + sum(isinstance(item, Candidate) for item in group)
            timed = self._time(library, candidates, list(range(start, end)))
            numbers = iter(range(start, end))
            outcomes.append([item if isinstance(item, str) else timed[next(numbers)] for item in group])
            start = end
        return outcomes

    def _time(self, library: str, candidates: list[Candidate], members: list[int]) -> dict[int, Outcome]:
        """One that dies is left out and the rest are tried again."""
        found: dict[int, Outcome] = {}
        while alive := [number for number in members if number not in found]:
            trying = alive[0]
            try:
                self._child.send(self._request(library, candidates, alive))
                while "done" not in (answer := json.loads(self._child.receive(_STEP_SECONDS))):
                    trying = answer["trying"]
                found.update({int(number): times for number, times in answer["done"].items()})
            except ChildDied as death:
                found[trying] = f"running: {death}"
        return found

    def _request(self, library: str, candidates: list[Candidate], members: list[int]) -> bytes:
        buffers = shared_buffers(candidates[number] for number in members)
        request: dict[str, Any] = {
            "library": library,
            "members": [(number, [buffer.slot for buffer in candidates[number].pointers]) for number in members],
            "buffers": {slot: (buffer.name, buffer.dtype, buffer.elements) for slot, buffer in buffers.items()},
            "beyond_bytes": self._beyond_bytes,
        }
        return json.dumps(request).encode()


def measurement(schedule: Schedule, outcome: Outcome) -> Measurement:
    """Times of batches, or a failure, as a measurement."""
    if isinstance(outcome, str):
        return Measurement(schedule=schedule, failure=outcome[:400])
    shortest, middle = (max(value, 0.1) for value in (min(outcome), statistics.median(outcome)))
    return Measurement(schedule=schedule, min_ns=round(shortest, 1), median_ns=round(middle, 1))


def _link(candidates: list[Candidate], folder: Path) -> str:
    """One library of all candidates with the timing loop; its path."""
    codes = {function.symbol: function.code for candidate in candidates for function, _ in candidate.steps}
    for symbol, code in codes.items():
        (folder / f"{symbol}.o").write_bytes(code)
    (folder / "measure.c").write_text(_source(candidates))
    objects = [f"{symbol}.o" for symbol in codes]
    command = [*compiler_command(), *_FLAGS, "-o", "measure.so", "measure.c", *objects, "-lm"]
    done = subprocess.run(
        command, cwd=folder, env=tools_environment(folder), check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise InternalError(f"the C compiler refused the timing loop: {done.stderr.strip()[-2000:]}")
    return str(folder / "measure.so")


def _source(candidates: list[Candidate]) -> str:
    """C that calls each candidate with the pointers of one copy."""
    declared = {
        function.symbol: f"int {function.symbol}({', '.join(['void *'] * len(function.buffers))}, int, int);"
        for candidate in candidates
        for function, _ in candidate.steps
    }
    bodies = [_caller(number, candidate) for number, candidate in enumerate(candidates)]
    names = ", ".join(f"run_{number}" for number in range(len(candidates)))
    counts = ", ".join(str(len(candidate.pointers)) for candidate in candidates)
    tables = [
        f"static void (*const CANDIDATES[])(void **) = {{{names}}};",
        f"static const size_t COUNTS[] = {{{counts}}};",
    ]
    head = ["#define _POSIX_C_SOURCE 199309L", "#include <stddef.h>", "#include <stdint.h>", "#include <time.h>"]
    return "\n".join([*head, *declared.values(), *bodies, *tables, _LOOP])


def _caller(number: int, candidate: Candidate) -> str:
    first, calls = 0, []
    for function, tasks in candidate.steps:
        pointers = ", ".join(f"p[{first + index}]" for index in range(len(function.buffers)))
        calls.append(f"{function.symbol}({pointers}, 0, {tasks});")
        first += len(function.buffers)
    return f"static void run_{number}(void **p) {{ {' '.join(calls)} }}"

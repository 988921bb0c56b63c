"""The tuner's bench where no Arm processor is: candidates linked to one program, their instructions counted by QEMU.

Counts are the same on every run. A processor's width, the latency of its instructions and its caches are not in them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np

from mdcompiler.backends.arm.instructions import plugin_options, read_counts
from mdcompiler.backends.arm.machine import PROGRAM_TRIPLE, emulator_command
from mdcompiler.backends.clib.candidates import Builder, Candidate, shared_buffers
from mdcompiler.backends.clib.link import compiler_command
from mdcompiler.errors import InternalError
from mdcompiler.target import Target
from mdcompiler.tuning.record import Measurement, Schedule
from mdcompiler.tuning.tunable import Job

_SECONDS = 600
_ALIGNMENT = 64
_FLAGS = ("-std=c11", "-O2", "-static", "-s")
_MAIN = """#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Which candidate the step was of: see count_instructions.c. */
static void tell(int number) {{
    for (int i = 0; i <= number; ++i)
        __asm__ volatile("hint #102" ::: "memory");
}}

{prototypes}

int main(void) {{
    uint8_t *memory = aligned_alloc({alignment}, {size});
    if (!memory)
        return 1;
    memset(memory, 0, {size});
{steps}
    return 0;
}}
"""
_STEP = """    __asm__ volatile("hint #100" ::: "memory");
{calls}
    __asm__ volatile("hint #101" ::: "memory");
    tell({number});"""


class InstructionBench:
    """Counts instructions of candidates built for `target`. Raises MissingToolError without QEMU."""

    def __init__(self, target: Target) -> None:
        self._emulator = emulator_command(target)
        self._builder = Builder(target)

    def __enter__(self) -> InstructionBench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._builder.__exit__(kind, error, trace)

    def measure(self, jobs: Sequence[tuple[Job, Sequence[Schedule]]]) -> list[list[Measurement]]:
        """See `Bench.measure`: the instructions of one call of each candidate."""
        groups = [[self._builder.build(job.subject(schedule)) for schedule in schedules] for job, schedules in jobs]
        counts = iter(self._count([item for group in groups for item in group if isinstance(item, Candidate)]))
        return [
            [
                _measurement(schedule, item if isinstance(item, str) else next(counts))
                for schedule, item in zip(schedules, group, strict=True)
            ]
            for (_, schedules), group in zip(jobs, groups, strict=True)
        ]

    def _count(self, candidates: Sequence[Candidate]) -> list[int | str]:
        """Of each candidate its instructions or what went wrong. When the program dies each gets one of its own."""
        if not candidates:
            return []
        try:
            return list(self._run(candidates))
        except InternalError as error:
            if len(candidates) == 1:
                return [f"running: {error}"]
        return [found for candidate in candidates for found in self._count([candidate])]

    def _run(self, candidates: Sequence[Candidate]) -> list[int]:
        with TemporaryDirectory(prefix="mdc-count-") as name:
            folder = Path(name)
            _link(candidates, folder)
            command = [*self._emulator, *plugin_options(folder), "./candidates"]
            done = _ran(command, folder)
            if done.returncode:
                raise InternalError(f"QEMU ended with status {done.returncode}: {done.stderr[-500:]}")
            counts = [row[0] for row in read_counts(folder)]
        if len(counts) != len(candidates):
            raise InternalError(f"QEMU counted {len(counts)} of {len(candidates)} candidates")
        return counts


def _measurement(schedule: Schedule, outcome: int | str) -> Measurement:
    if isinstance(outcome, str):
        return Measurement(schedule=schedule, failure=outcome[:400])
    return Measurement(schedule=schedule, min_ns=outcome, median_ns=outcome)


def _link(candidates: Sequence[Candidate], folder: Path) -> None:
    """Write the program `candidates` into `folder`."""
    codes = {function.symbol: function.code for item in candidates for function, _ in item.steps}
    for symbol, code in codes.items():
        (folder / f"{symbol}.o").write_bytes(code)
    (folder / "main.c").write_text(_main(candidates))
    objects = [f"{symbol}.o" for symbol in codes]
    done = _ran([*compiler_command(PROGRAM_TRIPLE), *_FLAGS, "-o", "candidates", "main.c", *objects, "-lm"], folder)
    if done.returncode:
        raise InternalError(f"the C compiler refused the counting program: {done.stderr.strip()[-2000:]}")


def _ran(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise InternalError(f"{command[0]} took more than {_SECONDS} s") from error


def _main(candidates: Sequence[Candidate]) -> str:
    """A program that runs each candidate once. Memory is all zero: no kernel's path depends on data."""
    places, size = _places(candidates)
    functions = {function.symbol: function for item in candidates for function, _ in item.steps}
    prototypes = [f"int {f.symbol}({'void *, ' * len(f.buffers)}int32_t, int32_t);" for f in functions.values()]
    steps = []
    for number, candidate in enumerate(candidates):
        calls = []
        for function, tasks in candidate.steps:
            pointers = "".join(f"memory + {places[buffer.slot]}, " for buffer in function.buffers)
            calls.append(f"    {function.symbol}({pointers}0, {tasks});")
        steps.append(_STEP.format(calls="\n".join(calls), number=number))
    return _MAIN.format(
        prototypes="\n".join(prototypes), steps="\n".join(steps), size=max(size, _ALIGNMENT), alignment=_ALIGNMENT
    )


def _places(candidates: Sequence[Candidate]) -> tuple[dict[str, int], int]:
    """Where in the program's memory each buffer lies, and how many bytes that is in all."""
    places, size = {}, 0
    for slot, buffer in shared_buffers(candidates).items():
        places[slot] = size
        length = buffer.elements * np.dtype(buffer.dtype).itemsize
        size += -(-length // _ALIGNMENT) * _ALIGNMENT + _ALIGNMENT
    return places, size

"""The tuner's bench: candidates linked to one program, their packets counted by QEMU, the same on every run.

Packets issue one a cycle at best; what a real processor adds (waiting for loads, for the caches) is not in them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import numpy as np

from mdcompiler.backends.clib.candidates import Builder, Candidate
from mdcompiler.backends.hexagon import machine
from mdcompiler.backends.hexagon.link import link_files
from mdcompiler.errors import InternalError
from mdcompiler.target import Target
from mdcompiler.tuning.record import Measurement, Schedule
from mdcompiler.tuning.tunable import Job

_SECONDS = 600
_MARGIN_BYTES = 1 << 12
_MAIN = """#include <stdint.h>
#include <stdio.h>

static uint8_t memory[{size}] __attribute__((aligned(128)));

static uint32_t packets(void) {{
    uint32_t count;
    __asm__ volatile(".word 0x6a14c000\\n\\t{{ %0 = r0 }}" : "=r"(count)::"r0");
    return count;
}}

{prototypes}

int main(void) {{
    uint32_t before;
{calls}
    return 0;
}}
"""


class PacketBench:
    """Counts packets of candidates built for `target`. Raises MissingToolError without QEMU."""

    def __init__(self, target: Target) -> None:
        self._launcher = machine.launcher()
        self._target, self._builder = target, Builder(target)

    def __enter__(self) -> PacketBench:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._builder.__exit__(kind, error, trace)

    def measure(self, jobs: Sequence[tuple[Job, Sequence[Schedule]]]) -> list[list[Measurement]]:
        """See `Bench.measure`: the packets of all iterations of a candidate's functions."""
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
        """Of each candidate its packets or what went wrong. When the program dies each gets one of its own."""
        if not candidates:
            return []
        try:
            return list(self._run(candidates))
        except InternalError as error:
            if len(candidates) == 1:
                return [f"running: {error}"]
        return [found for candidate in candidates for found in self._count([candidate])]

    def _run(self, candidates: Sequence[Candidate]) -> list[int]:
        codes = {function.symbol: function.code for item in candidates for function, _ in item.steps}
        objects = {f"kernel_{number}.o": code for number, code in enumerate(codes.values())}
        program = link_files({"main.c": _main(candidates).encode(), **objects}, self._target)
        counts = iter(int(line) for line in self._output(program).splitlines())
        return [sum(next(counts) * tasks for _, tasks in item.steps) for item in candidates]

    def _output(self, program: bytes) -> str:
        with TemporaryDirectory(prefix="mdc-count-") as name:
            path = Path(name) / "program"
            path.write_bytes(program)
            path.chmod(0o700)
            command = [*self._launcher, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        if done.returncode:
            raise InternalError(f"counting packets: QEMU ended with status {done.returncode}: {done.stderr[-500:]}")
        return done.stdout


def _measurement(schedule: Schedule, outcome: int | str) -> Measurement:
    if isinstance(outcome, str):
        return Measurement(schedule=schedule, failure=outcome[:400])
    return Measurement(schedule=schedule, min_ns=outcome, median_ns=outcome)


def _main(candidates: Sequence[Candidate]) -> str:
    """A program that prints the packets of one iteration of each function: all iterations take the same.

    Memory is all zero and the same for all pointers: no kernel's path depends on data.
    """
    functions = [function for item in candidates for function, _ in item.steps]
    prototypes = {f"int {item.symbol}({'void *, ' * len(item.buffers)}int32_t, int32_t);" for item in functions}
    calls = [
        f"    before = packets();\n    {item.symbol}({'memory, ' * len(item.buffers)}0, 1);\n"
        '    printf("%u\\n", (unsigned)(packets() - before));'
        for item in functions
    ]
    sizes = [buffer.elements * np.dtype(buffer.dtype).itemsize for item in functions for buffer in item.buffers]
    size = max(sizes) + _MARGIN_BYTES
    return _MAIN.format(size=size, prototypes="\n".join(sorted(prototypes)), calls="\n".join(calls))

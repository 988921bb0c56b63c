"""The tuner's bench where no Arm processor is: candidates linked to one program, their instructions counted by QEMU.

Counts are the same on every run. A processor's width, the latency of its instructions and its caches are not in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mdcompiler.backends.arm.instructions import plugin_options, read_counts
from mdcompiler.backends.arm.machine import PROGRAM_TRIPLE, emulator_command
from mdcompiler.backends.clib.candidates import Candidate, shared_buffers
from mdcompiler.backends.clib.count_bench import CountBench, run_program
from mdcompiler.backends.clib.link import compiler_command
from mdcompiler.errors import InternalError
from mdcompiler.scratch import scratch_folder
from mdcompiler.target import Target

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


class InstructionBench(CountBench):
    """Counts instructions of candidates built for `target`. Raises MissingToolError without QEMU."""

    def __init__(self, target: Target) -> None:
        self._emulator = emulator_command(target)
        super().__init__(target)

    def count(self, candidates: Sequence[Candidate]) -> list[int]:
        with scratch_folder("count") as folder:
            _link(candidates, folder)
            command = [*self._emulator, *plugin_options(folder), "./candidates"]
            done = run_program(command, folder)
            if done.returncode:
                raise InternalError(f"QEMU ended with status {done.returncode}: {done.stderr[-500:]}")
            counts = [row[0] for row in read_counts(folder)]
        if len(counts) != len(candidates):
            raise InternalError(f"QEMU counted {len(counts)} of {len(candidates)} candidates")
        return counts


def _link(candidates: Sequence[Candidate], folder: Path) -> None:
    """Write the program `candidates` into `folder`."""
    codes = {function.symbol: function.code for item in candidates for function, _ in item.steps}
    for symbol, code in codes.items():
        (folder / f"{symbol}.o").write_bytes(code)
    (folder / "main.c").write_text(_main(candidates))
    objects = [f"{symbol}.o" for symbol in codes]
    done = run_program(
        [*compiler_command(PROGRAM_TRIPLE), *_FLAGS, "-o", "candidates", "main.c", *objects, "-lm"], folder
    )
    if done.returncode:
        raise InternalError(f"the C compiler refused the counting program: {done.stderr.strip()[-2000:]}")


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

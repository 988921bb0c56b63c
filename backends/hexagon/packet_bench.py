"""The tuner's bench: candidates linked to one program, their packets counted by QEMU, the same on every run.

Packets issue one a cycle at best; what a real processor adds (waiting for loads, for the caches) is not in them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mdcompiler.backends.clib.candidates import Candidate
from mdcompiler.backends.clib.count_bench import CountBench, run_program
from mdcompiler.backends.hexagon import machine
from mdcompiler.backends.hexagon.link import link_files
from mdcompiler.errors import InternalError
from mdcompiler.scratch import scratch_folder
from mdcompiler.target import Target

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


class PacketBench(CountBench):
    """Counts packets of candidates built for `target`. Raises MissingToolError without QEMU."""

    def __init__(self, target: Target) -> None:
        self._launcher = machine.launcher()
        self._target = target
        super().__init__(target)

    def count(self, candidates: Sequence[Candidate]) -> list[int]:
        codes = {function.symbol: function.code for item in candidates for function, _ in item.steps}
        objects = {f"kernel_{number}.o": code for number, code in enumerate(codes.values())}
        program = link_files({"main.c": _main(candidates).encode(), **objects}, self._target)
        counts = iter(int(line) for line in self._output(program).splitlines())
        return [sum(next(counts) * tasks for _, tasks in item.steps) for item in candidates]

    def _output(self, program: bytes) -> str:
        with scratch_folder("count") as folder:
            path = folder / "program"
            path.write_bytes(program)
            path.chmod(0o700)
            done = run_program([*self._launcher, str(path)], path.parent)
        if done.returncode:
            raise InternalError(f"counting packets: QEMU ended with status {done.returncode}: {done.stderr[-500:]}")
        return done.stdout


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

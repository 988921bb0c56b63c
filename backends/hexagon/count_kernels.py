"""How many packets a kernel function takes, counted by QEMU: the same on every run, so a cost to tune by.

Packets issue one a cycle at best; what a real processor adds (waiting for loads, for the caches) is not in them.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.hexagon import machine
from mdcompiler.backends.hexagon.link import link_files
from mdcompiler.errors import InternalError
from mdcompiler.progress import silent
from mdcompiler.target import Target

_SECONDS = 600
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


@dataclass(frozen=True)
class KernelRun:
    """One function over its iterations [0, end). pointers: how many it takes; bytes: what the largest points to."""

    source: FunctionSource
    pointers: int
    bytes: int
    end: int


def count_packets(runs: Sequence[KernelRun], target: Target) -> list[int]:
    """Packets of each run. Its memory is all zero and the same for all pointers: no kernel's path depends on data.

    Raises MissingToolError without QEMU.
    """
    functions = {run.source.symbol: run.source for run in runs}
    objects = build_objects(functions, target.llvm, 1, silent)
    content = {f"kernel_{index}.o": code for index, code in enumerate(objects)}
    program = link_files({"main.c": _main(runs).encode(), **content}, target)
    return [int(line) for line in _run(program).splitlines()]


def _main(runs: Sequence[KernelRun]) -> str:
    pointers = {run.source.symbol: run.pointers for run in runs}
    prototypes = [f"int {name}({'void *, ' * count}int32_t, int32_t);" for name, count in pointers.items()]
    calls = [
        f"    before = packets();\n    {run.source.symbol}({'memory, ' * run.pointers}0, {run.end});\n"
        '    printf("%u\\n", (unsigned)(packets() - before));'
        for run in runs
    ]
    size = max(run.bytes for run in runs)
    return _MAIN.format(size=size, prototypes="\n".join(prototypes), calls="\n".join(calls))


def _run(program: bytes) -> str:
    with TemporaryDirectory(prefix="mdc-count-") as name:
        path = Path(name) / "program"
        path.write_bytes(program)
        path.chmod(0o700)
        done = subprocess.run(
            [*machine.launcher(), str(path)], capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    if done.returncode:
        raise InternalError(f"counting packets: QEMU ended with status {done.returncode}: {done.stderr[-500:]}")
    return done.stdout

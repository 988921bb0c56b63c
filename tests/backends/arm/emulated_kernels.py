"""Kernel functions in QEMU: many of them in one static program, which runs once."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.arm.machine import PROGRAM_TRIPLE, launcher
from mdcompiler.backends.clib.link import compiler_command
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.kernels.object_file import compile_object
from mdcompiler.target import Target

Array = NDArray[Any]
_ALIGNMENT = 64
_MAIN = """#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
{prototypes}
int main(int argc, char **argv) {{
    uint8_t *m = aligned_alloc({alignment}, {size});
    FILE *file = fopen(argv[1], "rb");
    if (argc != 2 || !m || !file || fread(m, 1, {size}, file) != {size} || fclose(file))
        return 1;
{calls}
    file = fopen(argv[1], "wb");
    return !file || fwrite(m, 1, {size}, file) != {size} || fclose(file);
}}
"""


@dataclass(frozen=True)
class Case:
    """A call over `tasks` iterations. arrays: its parameters, the last of which it writes."""

    source: FunctionSource
    arrays: Sequence[Array]
    tasks: int


def run_cases(folder: Path, target: Target, cases: Sequence[Case]) -> list[Array]:
    """What each call writes, on the processor that QEMU has for `target`."""
    sources = {case.source.symbol: case.source for case in cases}
    (folder / "kernels.o").write_bytes(
        compile_object({symbol: source.write() for symbol, source in sources.items()}, target.llvm)
    )
    memory, places = _layout(cases)
    (folder / "main.c").write_text(_main(cases, places, len(memory)))
    (folder / "memory").write_bytes(memory)
    command = [*compiler_command(PROGRAM_TRIPLE), "-std=c11", "-O1", "-static", "-o", "run", "main.c", "kernels.o"]
    subprocess.run([*command, "-lm"], cwd=folder, check=True, capture_output=True)
    subprocess.run([*launcher(target), "./run", "memory"], cwd=folder, check=True)
    after = (folder / "memory").read_bytes()
    return [
        np.frombuffer(after, case.arrays[-1].dtype, case.arrays[-1].size, own[-1]).reshape(case.arrays[-1].shape)
        for case, own in zip(cases, places, strict=True)
    ]


def _layout(cases: Sequence[Case]) -> tuple[bytes, list[list[int]]]:
    """All arrays one after the other, each alone in its lines of 64 bytes, and where they are."""
    memory, places = bytearray(), []
    for case in cases:
        own = []
        for array in case.arrays:
            own.append(len(memory))
            memory += array.tobytes()
            memory += b"\xa5" * (-len(memory) % _ALIGNMENT)
        places.append(own)
    return bytes(memory), places


def _main(cases: Sequence[Case], places: Sequence[Sequence[int]], size: int) -> str:
    pointers = {case.source.symbol: len(case.arrays) for case in cases}
    prototypes = [f"int {symbol}({'void *, ' * count}int32_t, int32_t);" for symbol, count in pointers.items()]
    calls = [
        f"    if ({case.source.symbol}({''.join(f'm + {at}, ' for at in own)}0, {case.tasks}))\n        return 2;"
        for case, own in zip(cases, places, strict=True)
    ]
    return _MAIN.format(prototypes="\n".join(prototypes), calls="\n".join(calls), size=size, alignment=_ALIGNMENT)

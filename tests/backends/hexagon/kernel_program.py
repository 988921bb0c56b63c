"""HVX kernel functions under QEMU: several calls in one program, their arrays in one file."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.program import FunctionSource
from mdcompiler.backends.hexagon import machine
from mdcompiler.backends.hexagon.link import link_files
from mdcompiler.progress import silent
from mdcompiler.target import Target

Array = NDArray[Any]
_ALIGNMENT = 128
_GUARD = 256
_MAIN = """#include <stdint.h>
#include <stdio.h>
static uint8_t memory[{size}] __attribute__((aligned(128)));
{prototypes}
int main(int argc, char **argv) {{
    FILE *file = fopen(argv[argc - 1], "rb");
    int failed = fread(memory, 1, sizeof memory, file) != sizeof memory;
    fclose(file);
{calls}
    file = fopen(argv[argc - 1], "wb");
    failed |= fwrite(memory, 1, sizeof memory, file) != sizeof memory;
    return fclose(file) || failed;
}}
"""


@dataclass(frozen=True)
class KernelCall:
    """One function over [0, end); arrays: its pointers, the last one being what it writes."""

    source: FunctionSource
    arrays: Sequence[Array]
    end: int


def run_calls(folder: Path, target: Target, calls: Sequence[KernelCall]) -> list[Array]:
    """The last array of every call afterwards. Asserts that nothing was written around it."""
    functions = {call.source.symbol: call.source for call in calls}
    content = {f"{i}.o": code for i, code in enumerate(build_objects(functions, target.llvm, 1, silent))}
    places, memory = _lay_out(calls)
    lines, prototypes = [], set()
    for call, offsets in zip(calls, places, strict=True):
        pointers = "".join(f"memory + {offset}, " for offset in offsets)
        lines.append(f"    failed |= {call.source.symbol}({pointers}0, {call.end});")
        prototypes.add(f"int {call.source.symbol}({'void *, ' * len(offsets)}int32_t, int32_t);")
    main = _MAIN.format(size=memory.size, prototypes="\n".join(sorted(prototypes)), calls="\n".join(lines))
    (folder / "program").write_bytes(link_files({"main.c": main.encode(), **content}, target))
    (folder / "program").chmod(0o700)
    memory.tofile(folder / "memory")
    subprocess.run([*machine.launcher(), str(folder / "program"), str(folder / "memory")], check=True, timeout=300)
    after = np.fromfile(folder / "memory", np.uint8)
    return [_last(call, offsets[-1], memory, after) for call, offsets in zip(calls, places, strict=True)]


def _lay_out(calls: Sequence[KernelCall]) -> tuple[list[list[int]], Array]:
    """Offsets of all arrays, and the memory with them in it; what lies around them is random."""
    places: list[list[int]] = []
    size = _GUARD
    for call in calls:
        places.append([])
        for array in call.arrays:
            places[-1].append(size)
            size += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT + _GUARD
    memory = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    for call, offsets in zip(calls, places, strict=True):
        for array, offset in zip(call.arrays, offsets, strict=True):
            memory[offset : offset + array.nbytes] = np.ascontiguousarray(array).view(np.uint8).reshape(-1)
    return places, memory


def _last(call: KernelCall, offset: int, before: Array, after: Array) -> Array:
    array = call.arrays[-1]
    for guard in (slice(offset - _GUARD, offset), slice(offset + array.nbytes, offset + array.nbytes + _GUARD)):
        assert np.array_equal(before[guard], after[guard]), f"{call.source.symbol} wrote outside of its target"
    return after[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)

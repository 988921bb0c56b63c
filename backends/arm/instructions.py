"""Instructions of a compiled network, kernel by kernel and block by block, counted while QEMU runs it.

    python -m mdcompiler.backends.arm.instructions DIR

The count is the same on every run and every machine, which a time in an emulator is not: it compares kernels and
guards them against getting worse. It is no time: caches, latencies and a core's width do not enter.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from mdcompiler.artifact import Artifact, open_artifact
from mdcompiler.backends.arm.backend import PROGRAM
from mdcompiler.backends.arm.machine import emulator_command
from mdcompiler.backends.clib.link import compiler_command
from mdcompiler.cli.console import print_table
from mdcompiler.errors import MdcError, UnsupportedError
from mdcompiler.names import block_of
from mdcompiler.sampling import seeded_inputs
from mdcompiler.scratch import scratch_folder

_PLUGIN = "count_instructions.c"
_COUNTS = "counts"
_LAST_WORD = -1


@dataclass(frozen=True)
class Count:
    """Instructions of one run: all, those that multiply and add, those that load or store."""

    name: str
    all: int
    multiply: int
    memory: int


def count_instructions(artifact: Artifact) -> list[Count]:
    """What each kernel of `artifact` takes in one run on a seeded input, in order of execution.

    Raises MissingToolError without QEMU, UnsupportedError when its plug-ins do not work.
    """
    command = emulator_command(artifact.manifest.target)
    with scratch_folder("count") as folder:
        program = folder / PROGRAM
        program.write_bytes(artifact.read(PROGRAM))
        program.chmod(0o700)
        run = [*command, *plugin_options(folder), str(program), "-k", *_write_inputs(artifact, folder)]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        if done.returncode or not (folder / _COUNTS).is_file():
            raise UnsupportedError(
                f"counting instructions with {command[0]}: {done.stderr.strip()[-500:]}. It needs a QEMU from 6 to 8 "
                "that was built with plug-ins, as Debian 12's qemu-user is."
            )
        return _read(done.stdout, read_counts(folder))


def by_block(rows: Iterable[Count]) -> list[Count]:
    """The counts added up over the kernels of each block, in order of first appearance."""
    sums: dict[str, Count] = {}
    for row in rows:
        block = block_of(row.name)
        sums[block] = _sum(block, (sums.get(block, Count(block, 0, 0, 0)), row))
    return list(sums.values())


def _sum(name: str, rows: Iterable[Count]) -> Count:
    rows = list(rows)
    return Count(name, sum(r.all for r in rows), sum(r.multiply for r in rows), sum(r.memory for r in rows))


def plugin_options(folder: Path) -> list[str]:
    """Build the plug-in in `folder`; the options with which QEMU writes its counts there, for `read_counts`."""
    source = files("mdcompiler.backends.arm") / _PLUGIN
    (folder / _PLUGIN).write_bytes(source.read_bytes())
    command = [*compiler_command(), "-std=c11", "-O2", "-fPIC", "-shared", "-o", "count.so", _PLUGIN]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return ["-plugin", f"{folder}/count.so,out={folder}/{_COUNTS}"]


def read_counts(folder: Path) -> list[list[int]]:
    """What the plug-in counted in each step: all, multiply-adds, loads and stores. Empty where it wrote nothing."""
    path = folder / _COUNTS
    lines = path.read_text().splitlines() if path.is_file() else []
    return [[int(word) for word in line.split()] for line in lines]


def _write_inputs(artifact: Artifact, folder: Path) -> list[str]:
    paths = []
    for index, array in enumerate(seeded_inputs(artifact.manifest.inputs).values()):
        path = folder / f"input_{index}"
        path.write_bytes(array.tobytes())
        paths.append(str(path))
    return paths


def _read(said: str, rows: list[list[int]]) -> list[Count]:
    """Kernel names as the program prints them after the unit, counts as the plug-in writes them."""
    names = [line.split(" us  ", 1)[_LAST_WORD] for line in said.splitlines() if " us  " in line]
    return [Count(name, *row) for name, row in zip(names, rows, strict=True)]


def main(arguments: Sequence[str]) -> int:
    """Print the table for the artifact directory named; 0, or 1 with a message, or 2 for wrong usage."""
    if len(arguments) != 1:
        print("usage: python -m mdcompiler.backends.arm.instructions DIR", file=sys.stderr)
        return 2
    try:
        rows = by_block(count_instructions(open_artifact(arguments[0])))
    except MdcError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows.append(_sum("all", rows))
    table = [(r.name, r.all, r.multiply, f"{r.multiply / max(1, r.all):.0%}", r.memory) for r in rows]
    print_table("", ("block", "instructions", "multiply-adds", "share", "loads and stores"), table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""PTX to machine code by ptxas, and what it says of every kernel: registers, spills, shared memory."""

from __future__ import annotations

import re
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from mdcompiler.errors import InternalError
from mdcompiler.scratch import scratch_folder

_SECONDS = 600
_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Resources:
    """What one kernel takes of a chip.

    registers: of a thread. shared_bytes: of a block of threads. stack_bytes, spill_bytes: of a thread, in the slow
    memory that is called local; spills are registers that did not fit.
    """

    registers: int = 0
    shared_bytes: int = 0
    stack_bytes: int = 0
    spill_bytes: int = 0

    def as_dict(self) -> dict[str, int]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Assembled:
    """cubin: machine code for one chip. resources: by kernel."""

    cubin: bytes
    resources: dict[str, Resources]


def assemble(ptx: str, arch: str, ptxas: Path) -> Assembled:
    """`ptx` as machine code for `arch`. Raises InternalError with the assembler's words."""
    with scratch_folder("ptxas") as folder:
        (folder / "kernel.ptx").write_text(ptx)
        command = [str(ptxas), "-v", f"-arch={arch}", "-O3", "kernel.ptx", "-o", "kernel.cubin"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
        said = done.stdout + done.stderr
        if done.returncode:
            raise InternalError(f"ptxas refused the PTX for {arch}: {said.strip()[-2000:]}")
        return Assembled((folder / "kernel.cubin").read_bytes(), parse_report(said))


def parse_report(text: str) -> dict[str, Resources]:
    """What `ptxas -v` said, by kernel. Raises InternalError for a kernel without a line of registers."""
    parts = _ENTRY.split(text)
    return {name: _resources(name, said) for name, said in zip(parts[1::2], parts[2::2], strict=True)}


def _resources(name: str, said: str) -> Resources:
    registers, stack, shared = _REGISTERS.search(said), _STACK.search(said), _SHARED.search(said)
    if registers is None or stack is None:
        raise InternalError(f"ptxas said nothing of the registers of {name}: {said.strip()[-500:]}")
    frame, stores, loads = map(int, stack.groups())
    return Resources(int(registers[1]), int(shared[1]) if shared else 0, frame, stores + loads)

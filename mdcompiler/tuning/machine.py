"""The machine a record was measured for, and which machines it may serve.

The rule, from best to worst, and nothing beyond it:

1. the same: all code generation options, processor flags and vector sizes are equal;
2. the same feature level: kind of code generator, architecture, vector width and number of registers are
   equal, and every processor flag that the record's target needs the other has too. So `x86-64-v4` serves
   `x86-64-v4-vnni` and a target file with `mcpu: znver5`, but `x86-64-v3` never serves `x86-64-v4`, and a
   record made with VNNI never serves a processor without. Among several, the one that shares most flags.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from mdcompiler.target import CodeOptions, Target

_SAME = 1 << 16


class Machine(BaseModel):
    """What decides the machine code of a kernel: the part of a target that identifies its records."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    llvm: CodeOptions
    flags: tuple[str, ...] = Field(default=(), max_length=256)
    vector_bytes: int = Field(ge=4, le=1024)
    vector_registers: int = Field(ge=4, le=256)

    @classmethod
    def of(cls, target: Target) -> Machine:
        return cls(
            llvm=target.llvm,
            flags=tuple(sorted(target.cpu_flags)),
            vector_bytes=target.vector_bytes,
            vector_registers=target.vector_registers,
        )


def fitness(measured: Machine, wanted: Machine) -> int | None:
    """How well a record for `measured` serves `wanted`, larger being better; None: not at all."""
    if measured == wanted:
        return _SAME
    if _level(measured) != _level(wanted) or not set(measured.flags) <= set(wanted.flags):
        return None
    return len(measured.flags)


def _level(machine: Machine) -> tuple[str, str, int, int]:
    kind, triple = str(machine.llvm.get("kind", "")), str(machine.llvm.get("mtriple", ""))
    return kind, triple.partition("-")[0], machine.vector_bytes, machine.vector_registers

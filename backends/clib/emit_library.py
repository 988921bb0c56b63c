"""From a placed module to the files of a C library: the last stage of every CPU-like backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mdcompiler.backend import Emission
from mdcompiler.backends.clib.alias import share_memory
from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.build_program import build_program, fallback_kernels
from mdcompiler.backends.clib.c_source import Source
from mdcompiler.backends.clib.choose_strips import strip_chooser
from mdcompiler.backends.clib.describe_library import c_files, describe_library, library_facts
from mdcompiler.backends.clib.fold_gates import fold_gates
from mdcompiler.backends.clib.fuse_strips import ChooseRows, fuse_strips
from mdcompiler.backends.clib.link import link_library
from mdcompiler.backends.clib.plan import Plan, plan_arena
from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.requantize import Rounding
from mdcompiler.backends.legalize import legalize_all
from mdcompiler.errors import UnsupportedError
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.quantization.scheme import read_scheme
from mdcompiler.target import Target

_ANY_ALIGNMENT = 1
"""Fallback kernels work on plain memory, which callers and concatenations may place anywhere."""
_FEATURES = {
    "sse4_2": "MDC_CPU_SSE4_2",
    "avx2": "MDC_CPU_AVX2",
    "avx512f": "MDC_CPU_AVX512",
    "avx512_vnni": "MDC_CPU_VNNI",
    "asimd": "MDC_CPU_NEON",
    "asimddp": "MDC_CPU_DOTPROD",
    "i8mm": "MDC_CPU_I8MM",
}
"""Flag of a target -> bit of mdc_cpu_features that a model for it needs."""


@dataclass(frozen=True)
class CLibrary:
    """A network as C, ready to be linked.

    prefix: of the C functions and of the files. files: the generated sources by name. objects: the kernels.
    """

    prefix: str
    source: Source
    files: dict[str, bytes]
    objects: list[bytes]
    facts: dict[str, Any]

    @property
    def header(self) -> dict[str, bytes]:
        """The public header by its name."""
        name = f"{self.prefix}.h"
        return {name: self.files[name]}


def emit_library(module: Module, progress: Progress, workers: int, prefix: str) -> Emission:
    """`{prefix}.so` and `{prefix}.h`. The graph is not edited.

    workers: processes that compile at once.
    """
    library = write_library(module, progress, workers, prefix)
    return Emission({f"{prefix}.so": linked(library, module.target, progress), **library.header}, library.facts)


def linked(library: CLibrary, target: Target, progress: Progress) -> bytes:
    """The shared library."""
    progress("link", 0, 1)
    content = link_library(library.files, library.objects, target.zig)
    progress("link", 1, 1)
    return content


def write_library(
    module: Module,
    progress: Progress,
    workers: int,
    prefix: str,
    choose_rows: ChooseRows | None = None,
    chooser: Chooser | None = None,
) -> CLibrary:
    """Everything that `emit_library` links: the generated C and the machine code of the kernels.

    choose_rows: which chains run over strips; by default as recorded, or by the size of the cache. chooser: of
    schedules; by default with the shipped records and the user's.
    """
    target = module.target
    chooser = chooser or Chooser.open(target)
    program = lowered(module, chooser)
    fallback = sorted(kernel.name for kernel in fallback_kernels(module.graph, target))
    unfused = _plan(program, target)
    fused = fuse_strips(program, choose_rows or strip_chooser(chooser))
    features = [name for flag, name in _FEATURES.items() if flag in target.cpu_flags]
    source, constants = describe_library(program, module, features)
    objects = build_objects(program.functions, target.llvm, workers, progress)
    facts = {
        **library_facts(source),
        "fallback_kernels": fallback,
        "fused_chains": fused,
        "arena_bytes_unfused": unfused.arena_bytes,
        "arena_lower_bound_bytes_unfused": unfused.lower_bound_bytes,
    }
    files = c_files(source, constants, prefix)
    return CLibrary(prefix, source, files, [*objects, *program.objects.values()], facts)


def lowered(module: Module, chooser: Chooser) -> Program:
    """The calls of a placed module, one kernel after the other."""
    fallback, llvm, opset = fallback_kernels(module.graph, module.target), module.target.llvm, module.graph.opset
    legal = legalize_all(fallback, llvm, opset=opset, alignment_bytes=_ANY_ALIGNMENT) if fallback else {}
    program = build_program(module.graph, module.target, legal, rounding_of(module), chooser)
    fold_gates(program)
    return program


def rounding_of(module: Module) -> Rounding:
    """How quantized kernels round: by the scheme the network was quantized with."""
    scheme = read_scheme(module.metadata)
    if scheme is None:
        return "float-half-even"
    if scheme.rounding == "power-of-two":
        raise UnsupportedError(
            f"compiling for {module.target.name}: the scheme {scheme.name} rounds by powers of two; the CPU kernels do "
            "not. Quantize with another scheme."
        )
    return scheme.rounding


def _plan(program: Program, target: Target) -> Plan:
    """Where the program's buffers would lie as it is now."""
    aliases, calls = share_memory(program)
    return plan_arena(calls, program.sizes, aliases, target.alignment_bytes)

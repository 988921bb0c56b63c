"""The backend for CPUs: a plain C library with kernels of our own, for any target that LLVM knows.

    graph -> choose-layout -> kernels as TIR -> objects   \\
                           -> calls, arena, constants -> C -> model.so, model.h

What has no template is legalised by TVM and called the same way. Nothing of TVM or Python is in the
library.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdcompiler.backend import Emission, Runnable, input_specs, output_specs
from mdcompiler.backends.clib.alias import share_memory
from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.choose_layout import ChooseLayout
from mdcompiler.backends.clib.emit_c import CONSTANTS_FILE, Source, header, implementation, pack_constants, tensors
from mdcompiler.backends.clib.library import SharedLibrary
from mdcompiler.backends.clib.link import link_library
from mdcompiler.backends.clib.lower_kernels import build_program, fallback_kernels
from mdcompiler.backends.clib.plan import plan_arena
from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.kernels.select import why_not
from mdcompiler.backends.legalize import legalize_all
from mdcompiler.compile_pass import Pass
from mdcompiler.kernel import Kernel
from mdcompiler.manifest import TensorSpec
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.target import Target

_PREFIX = "model"
_ANY_ALIGNMENT = 1
"""Fallback kernels work on plain memory, which callers and concatenations may place anywhere."""
_FEATURES = {"avx512f": "MDC_CPU_AVX512", "avx2": "MDC_CPU_AVX2", "sse4_2": "MDC_CPU_SSE4_2"}


class CpuBackend:
    """Compiles to `model.so` with the C interface `model.h`."""

    name = "cpu"

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        return why_not(kernel, target.lanes)

    def passes(self, target: Target) -> Sequence[Pass]:
        return (ChooseLayout(lanes=target.lanes),)

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        target = module.target
        fallback = fallback_kernels(module.graph, target)
        opset = module.graph.opset
        legal = legalize_all(fallback, target.llvm, opset=opset, alignment_bytes=_ANY_ALIGNMENT) if fallback else {}
        program = build_program(module.graph, target, legal)
        source, constants = _source(program, module)
        objects = build_objects(program.functions, target.llvm, threads, progress)
        progress("link", 0, 1)
        c_files = {
            f"{_PREFIX}.h": header(source, _PREFIX).encode(),
            f"{_PREFIX}.c": implementation(source, _PREFIX).encode(),
            CONSTANTS_FILE: constants,
        }
        library = link_library(c_files, [*objects, *program.objects.values()], target.zig)
        progress("link", 1, 1)
        files = {f"{_PREFIX}.so": library, f"{_PREFIX}.h": c_files[f"{_PREFIX}.h"]}
        return Emission(files, _facts(source, len(constants), sorted(legal)))

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        inputs, outputs = ([TensorSpec.model_validate(item) for item in manifest[key]] for key in ("inputs", "outputs"))
        return SharedLibrary(directory / f"{_PREFIX}.so", inputs, outputs, threads=threads)


def _source(program: Program, module: Module) -> tuple[Source, bytes]:
    """Everything the generated C needs, and the content of the constants file."""
    alignment = module.target.alignment_bytes
    aliases, calls = share_memory(program)
    constants, offsets = pack_constants(program.constants, alignment)
    taken = {"context", "nanoseconds", "frame", "arena", "steps"}
    features = [name for flag, name in _FEATURES.items() if flag in module.target.cpu_flags]
    source = Source(
        program=program,
        calls=calls,
        aliases=aliases,
        plan=plan_arena(calls, program.sizes, aliases, alignment),
        inputs=tensors(input_specs(module), taken),
        outputs=tensors(output_specs(module), taken),
        constants=offsets,
        constants_bytes=len(constants),
        alignment_bytes=alignment,
        features=features,
    )
    return source, constants


def _facts(source: Source, constants_bytes: int, fallback: list[str]) -> dict[str, Any]:
    return {
        "arena_bytes": source.plan.arena_bytes,
        "arena_lower_bound_bytes": source.plan.lower_bound_bytes,
        "constants_bytes": constants_bytes,
        "kernel_functions": len(source.program.functions),
        "calls": len(source.calls),
        "fallback_kernels": fallback,
    }

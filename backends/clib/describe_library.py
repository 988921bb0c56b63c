"""From a program to what the generated C needs, its files, and what the manifest says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdcompiler.backend import input_specs, output_specs
from mdcompiler.backends.clib.alias import share_memory
from mdcompiler.backends.clib.c_source import CONSTANTS_FILE, Source, interface, pack_constants
from mdcompiler.backends.clib.emit_c import header, implementation
from mdcompiler.backends.clib.plan import plan_arena
from mdcompiler.backends.clib.program import Program
from mdcompiler.module import Module


def describe_library(program: Program, module: Module, features: Sequence[str] = ()) -> tuple[Source, bytes]:
    """Everything that the generated C needs, and the content of the constants file.

    features: the mdc_cpu_features bits (C names) that the kernels need.
    """
    alignment = module.target.alignment_bytes
    aliases, calls = share_memory(program)
    constants, offsets = pack_constants(program.constants, alignment)
    inputs, outputs = interface(input_specs(module), output_specs(module))
    source = Source(
        program=program,
        calls=calls,
        aliases=aliases,
        plan=plan_arena(calls, program.sizes, aliases, alignment),
        inputs=inputs,
        outputs=outputs,
        constants=offsets,
        constants_bytes=len(constants),
        alignment_bytes=alignment,
        features=features,
    )
    return source, constants


def c_files(source: Source, constants: bytes, prefix: str) -> dict[str, bytes]:
    """The generated files by name."""
    return {
        f"{prefix}.h": header(source, prefix).encode(),
        f"{prefix}.c": implementation(source, prefix).encode(),
        CONSTANTS_FILE: constants,
    }


def library_facts(source: Source) -> dict[str, Any]:
    """Memory and size, as the manifest states them."""
    return {
        "arena_bytes": source.plan.arena_bytes,
        "arena_lower_bound_bytes": source.plan.lower_bound_bytes,
        "constants_bytes": source.constants_bytes,
        "kernel_functions": len(source.program.functions),
        "calls": len(source.calls),
    }

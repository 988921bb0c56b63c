"""Kernels that fit a chip, by what ptxas says of them: where one does not, its next best tile is tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mdcompiler.backends.clib.program import FunctionSource, Program
from mdcompiler.backends.cuda.compile_kernels import compile_kernels
from mdcompiler.backends.cuda.compiled import CompiledKernel
from mdcompiler.backends.gpu.lower import lower_gpu
from mdcompiler.backends.gpu.traits import traits_of
from mdcompiler.errors import InternalError
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.target import Target

MOST_REGISTERS = 255
"""Of a thread: CUDA C Programming Guide, table "Technical Specifications per Compute Capability"."""


def fitting_kernels(module: Module, workers: int, progress: Progress) -> tuple[Program, dict[str, CompiledKernel]]:
    """The launches of a placed module, and their kernels compiled, none of which spills registers.

    Raises UnsupportedError for a kernel without a template, InternalError for one that fits under no tile.
    """
    target, traits = module.target, traits_of(module.target)
    while True:
        program = lower_gpu(module, traits)
        kernels = compile_kernels(program.functions, target.llvm, workers, progress)
        faulty = {symbol: found for symbol, one in kernels.items() if (found := faults_of(one, target))}
        if not faulty:
            return program, kernels
        refused = _tiles(program.functions, faulty)
        if not refused:
            words = "; ".join(f"{symbol}: {', '.join(found)}" for symbol, found in faulty.items())
            raise InternalError(f"compiling for {target.name}: {words}. Send this message with the spec.")
        traits = replace(traits, refused=traits.refused | refused)


def faults_of(kernel: CompiledKernel, target: Target) -> list[str]:
    """What of `kernel` exceeds the chip, or would make it slow, as phrases; [] when it is good."""
    used, fields = kernel.resources, target.llvm
    limits = (
        ("threads a block", kernel.threads, int(fields.get("max_num_threads", 1024))),
        ("bytes of shared memory a block", used.shared_bytes, int(fields.get("max_shared_memory_per_block", 49152))),
        ("registers a thread", used.registers, MOST_REGISTERS),
        ("registers a block", used.registers * kernel.threads, int(fields.get("registers_per_block", 65536))),
        ("bytes of registers spilled to memory", used.spill_bytes, 0),
    )
    return [f"{count} {what}; allowed {most}" for what, count, most in limits if count > most]


def _tiles(functions: Mapping[str, FunctionSource], symbols: Mapping[str, object]) -> frozenset[tuple[Any, Any]]:
    """Work and tile of those kernels that have tiles to choose from."""
    sources: list[Any] = [functions[symbol] for symbol in symbols]
    return frozenset(
        (getattr(source, "problem", None) or source.work, source.tile) for source in sources if hasattr(source, "tile")
    )

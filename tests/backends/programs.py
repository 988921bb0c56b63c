"""Networks as the calls they become, without compiling a kernel."""

from __future__ import annotations

from mdcompiler.backends.clib.alias import share_memory
from mdcompiler.backends.clib.build_program import build_program
from mdcompiler.backends.clib.plan import plan_arena
from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.cpu import CpuBackend
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline
from mdcompiler.spec import Spec, weight_shapes
from mdcompiler.target import Target
from mdcompiler.weights import seeded_weights


def placed(module: Module, pipeline: Pipeline) -> Module:
    """The module with its layouts chosen."""
    pipeline.run(module, CpuBackend().passes(module.target))
    return module


def float_module(spec: Spec, target: Target) -> Module:
    """The network with seeded weights, ready for float32 kernels."""
    model = lower(spec, seeded_weights(weight_shapes(spec), 0), raw=True)
    module, pipeline = Module.from_onnx(model, target), Pipeline()
    pipeline.run(module, builtin_passes())
    return placed(module, pipeline)


def program_of(spec: Spec, target: Target) -> Program:
    """The float32 calls of a network."""
    return build_program(float_module(spec, target).graph, target, {})


def arena_bytes(program: Program, target: Target) -> int:
    """Working memory that the calls need as they are."""
    aliases, calls = share_memory(program)
    return plan_arena(calls, program.sizes, aliases, target.alignment_bytes).arena_bytes

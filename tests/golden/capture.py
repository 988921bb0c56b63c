"""What a target emits for a network, in digests: every kernel, the program around them, constants, memory.

Kernels are taken as the TIR that TVM gets: a move of our own code changes none of it, and TVM, whose version is
pinned, makes the same machine code of the same TIR.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mdcompiler.backends.clib.describe_library import c_files, describe_library, library_facts
from mdcompiler.backends.clib.program import FunctionSource, Program
from mdcompiler.module import Module
from tests.golden.names import Canonical, digest

Golden = dict[str, Any]
"""kernels: canonical symbol -> digest. files: name -> digest of the canonical text. facts: memory and counts.
refused: why the target does not take the network."""


def capture(module: Module) -> Golden:
    """Everything that the backend of a placed module emits."""
    return _CAPTURES[module.target.backend](module)


def _cpu(module: Module) -> Golden:
    from mdcompiler.backends.clib.choose_strips import strip_chooser
    from mdcompiler.backends.clib.emit_library import lowered
    from mdcompiler.backends.clib.fuse_strips import fuse_strips
    from mdcompiler.backends.kernels.choose_schedule import Chooser

    chooser = Chooser.open(module.target)
    program = lowered(module, chooser)
    fused = fuse_strips(program, strip_chooser(chooser))
    source, constants = describe_library(program, module)
    facts = {**library_facts(source), "fused_chains": len(fused)}
    return _of_program(program, c_files(source, constants, "model"), facts)


def _hexagon(module: Module) -> Golden:
    from mdcompiler.backends.hexagon.emit import plan_model

    source, constants = plan_model(module)
    facts = {**library_facts(source), "near_bytes": source.near_bytes}
    return _of_program(source.program, c_files(source, constants, "model"), facts)


def _gpu(module: Module) -> Golden:
    """Steps as text: what the hosts of WebGPU and CUDA are written from."""
    from mdcompiler.backend import input_specs, output_specs
    from mdcompiler.backends.clib.c_source import pack_constants
    from mdcompiler.backends.gpu.device_program import divide
    from mdcompiler.backends.gpu.lower import lower_gpu
    from mdcompiler.backends.gpu.traits import traits_of

    alignment = module.target.alignment_bytes
    program = lower_gpu(module, traits_of(module.target))
    constants, _ = pack_constants(program.constants, alignment)
    ends = {spec["name"]: _bytes(spec) for spec in (*input_specs(module), *output_specs(module))}
    plan = divide(program, ends, alignment)
    steps = "\n".join(f"{call.kernel} {call.code} {call.reads} {call.writes}" for call in program.calls)
    facts = {"launches": len(plan.steps), "arena_bytes": plan.plan.arena_bytes, "pinned_bytes": plan.pinned_bytes}
    return _of_program(program, {"steps": steps.encode(), "constants": constants}, facts)


def _tflite(module: Module) -> Golden:
    from mdcompiler.backends.tflite.write_file import tflite_bytes
    from mdcompiler.backends.tflite.write_network import write_network

    written = write_network(module)
    return {"kernels": {}, "files": {"model.tflite": digest(tflite_bytes(module, written))}, "facts": {}}


def _htp(module: Module) -> Golden:
    from mdcompiler.backends.htp.cut import cut, host_model, unit_model
    from mdcompiler.backends.htp.limits import check_kernels

    found = cut(module)
    check_kernels(found.unit)
    host = host_model(module, found)
    models = {"unit": unit_model(module, found), **({} if host is None else {"host": host})}
    files = {name: digest(model.SerializeToString(deterministic=True)) for name, model in models.items()}
    return {"kernels": {}, "files": files, "facts": {}}


_CAPTURES: Mapping[str, Callable[[Module], Golden]] = {
    "cpu": _cpu,
    "arm": _cpu,
    "hexagon": _hexagon,
    "webgpu": _gpu,
    "cuda": _gpu,
    "edgetpu": _tflite,
    "vela": _tflite,
    "htp": _htp,
}


def _of_program(program: Program, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Golden:
    canonical = Canonical(program.functions)
    return {
        "kernels": {
            canonical.names[symbol]: _kernel(source, canonical) for symbol, source in program.functions.items()
        },
        "files": {name: digest(canonical.text(_text(data))) for name, data in sorted(files.items())},
        "facts": dict(facts),
    }


def _kernel(source: FunctionSource, canonical: Canonical) -> str:
    return digest(canonical.text(str(source.write().script(show_meta=True))))


def _text(data: bytes) -> str:
    """One character a byte: files of constants have no names in them, and are left alone by the replacement."""
    return data.decode("latin-1")


def _bytes(spec: Mapping[str, Any]) -> int:
    return int(np.prod(spec["shape"]) * np.dtype(spec["dtype"]).itemsize)

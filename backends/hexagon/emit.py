"""From a placed module to the files of a Hexagon artifact."""

from __future__ import annotations

from typing import Any

from mdcompiler.backend import Emission
from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.c_source import Source
from mdcompiler.backends.clib.describe_library import c_files, describe_library, library_facts
from mdcompiler.backends.clib.emit_runner import runner
from mdcompiler.backends.hexagon.choose import Chooser
from mdcompiler.backends.hexagon.link import HexagonFiles, link_archive, link_program
from mdcompiler.backends.hexagon.lower import lower_program
from mdcompiler.backends.hexagon.program_builder import ROUNDING
from mdcompiler.backends.hexagon.vtcm import BlockMemory, memory_by_block, plan_vtcm, stage_weights
from mdcompiler.kernel import kernels
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.quantization.check_rounding import check_rounding
from mdcompiler.read_network import labels_of


def emit_model(module: Module, progress: Progress, workers: int, prefix: str, program_name: str) -> Emission:
    """The program, the archive and the header, and the runtime's sources. The graph is not edited.

    workers: processes that compile at once. Raises UnsupportedError for a kernel without an HVX template.
    """
    check_rounding(module, ROUNDING, "HVX", "hexagon-hvx")
    source, constants = plan_model(module)
    objects = build_objects(source.program.functions, module.target.llvm, workers, progress)
    main = runner(prefix, source.inputs, source.outputs, labels_of(module))
    files = HexagonFiles(prefix, c_files(source, constants, prefix), objects, module.target)
    progress("link", 0, 2)
    executable = link_program(files, main.encode())
    progress("link", 1, 2)
    archive = link_archive(files)
    progress("link", 2, 2)
    return Emission({program_name: executable, **archive}, {**library_facts(source), "vtcm": _vtcm(module, source)})


def plan_model(module: Module) -> tuple[Source, bytes]:
    """The calls of a placed network with everything in its place, and the constants."""
    program, room = lower_program(module.graph, Chooser.open(module.target)), module.target.vtcm_bytes
    stage_weights(program, room)
    source, constants = describe_library(program, module)
    return plan_vtcm(source, room), constants


def block_memory(module: Module, source: Source) -> list[BlockMemory]:
    """Where the data of each block lies, in order."""
    return memory_by_block(source, {kernel.name: kernel.block or kernel.name for kernel in kernels(module.graph)})


def _vtcm(module: Module, source: Source) -> dict[str, Any]:
    """The plan as the manifest states it."""
    rows = [row.as_dict() for row in block_memory(module, source)]
    return {"capacity_bytes": module.target.vtcm_bytes, "used_bytes": source.near_bytes, "blocks": rows}

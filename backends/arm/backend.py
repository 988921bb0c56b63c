"""The backend for 64-bit Arm processors with NEON.

Everything up to the link is the cpu backend's. Added is `model_run`, a static program that needs nothing on the
device, and that QEMU's user-mode emulation runs on any other Linux machine: so the whole network is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdcompiler.artifact import Artifact
from mdcompiler.backend import Costs, Emission, Runnable
from mdcompiler.backends.arm.machine import PROGRAM_TRIPLE, is_native, launcher, why_not_run
from mdcompiler.backends.clib.library import open_listed
from mdcompiler.backends.clib.program_runner import open_listed as open_program
from mdcompiler.backends.cpu import PREFIX, CpuBackend
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.target import Target

if TYPE_CHECKING:
    from mdcompiler.tuning.tunable import Tuner

PROGRAM = f"{PREFIX}_run"
_GNU = "-gnu"


class ArmBackend(CpuBackend):
    """Compiles to `model.so`, its C interface `model.h`, and the program `model_run`."""

    name = "arm"
    shows_head = False  # the program that an emulator runs gives outputs only

    def why_not_run(self, target: Target) -> str:
        """Why what is compiled for `target` cannot run here, not even emulated; "" when it can."""
        return why_not_run(target)

    def tuner(self) -> Tuner:
        from mdcompiler.backends.arm.tuner import ArmTuner

        return ArmTuner()

    def block_costs(self, artifact: Artifact) -> Costs | None:
        """Instructions under QEMU; None on a processor of the target's own, where time is measured instead."""
        if is_native(artifact.manifest.target):
            return None
        from mdcompiler.backends.arm.instructions import by_block, count_instructions

        return Costs("instructions", "counted", {row.name: row.all for row in by_block(count_instructions(artifact))})

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        from mdcompiler.backends.clib.emit_library import write_library
        from mdcompiler.backends.clib.emit_runner import runner
        from mdcompiler.backends.clib.link import link_library, link_program
        from mdcompiler.read_network import labels_of

        library = write_library(module, progress, threads, PREFIX)
        main = runner(PREFIX, library.source.inputs, library.source.outputs, labels_of(module)).encode()
        progress("link", 0, 2)
        shared = link_library(library.files, library.objects, module.target.zig)
        progress("link", 1, 2)
        program = link_program({**library.files, f"{PREFIX}_main.c": main}, library.objects, PROGRAM_TRIPLE)
        progress("link", 2, 2)
        return Emission({f"{PREFIX}.so": shared, PROGRAM: program, **library.header}, library.facts)

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        target = Target.model_validate(manifest["target"])
        if is_native(target) and _GNU in target.zig:
            return open_listed(directory, manifest, f"{PREFIX}.so", threads)
        return open_program(launcher(target), directory, manifest, PROGRAM, threads)

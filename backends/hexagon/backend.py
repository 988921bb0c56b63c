"""The backend for Qualcomm Hexagon DSPs with HVX: int8 networks.

    graph -> choose-layout [C/32][H][W][32] -> HVX kernels as TIR -> objects   \\
                                            -> calls, arena, constants -> C    -> model_run, libmodel.a, model.h

Linking takes the ziglang wheel alone, running QEMU. The vendor's SDK takes libmodel.a: the kernels and the calls,
which need its C library, and the sources of the runtime, which its compiler builds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdcompiler.artifact import Artifact
from mdcompiler.backend import Costs, Emission, MemoryRow, Runnable
from mdcompiler.backends.clib.program_runner import open_listed
from mdcompiler.backends.hexagon import machine
from mdcompiler.compile_pass import Pass
from mdcompiler.kernel import Kernel
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.target import Target

if TYPE_CHECKING:  # tuning needs TVM
    from mdcompiler.backends.hexagon.tuner import HexagonTuner

PREFIX = "model"
"""Of the files and C functions of a model."""
PROGRAM = f"{PREFIX}_run"


class HexagonBackend:
    """Compiles to the program `model_run`, and to `libmodel.a` with `model.h` for the vendor's SDK."""

    name = "hexagon"

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        from mdcompiler.backends.hexagon.limits import why_not

        return why_not(kernel)

    def why_not_run(self, target: Target) -> str:
        """Why what is compiled for `target` cannot run here, not even emulated; "" when it can."""
        return machine.why_not_run()

    def block_costs(self, artifact: Artifact) -> Costs:
        """Packets under QEMU."""
        from mdcompiler.backends.hexagon.report import count_packets

        return Costs("packets", "counted", dict(count_packets(artifact)))

    def memory_rows(self, module: Module) -> list[MemoryRow]:
        """What each block keeps in VTCM, and what it moves there, elsewhere by vectors and through L1.

        Nothing for a network that `emit` would refuse.
        """
        from mdcompiler.backends.hexagon.explain import memory_rows

        return memory_rows(module)

    def passes(self, target: Target) -> Sequence[Pass]:
        from mdcompiler.backends.clib.choose_layout import ChooseLayout

        return (ChooseLayout(lanes=target.lanes),)

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        from mdcompiler.backends.hexagon.emit import emit_model

        return emit_model(module, progress, threads, PREFIX, PROGRAM)

    def tuner(self) -> HexagonTuner:
        """What `mdc tune` needs of this backend."""
        from mdcompiler.backends.hexagon.tuner import HexagonTuner

        return HexagonTuner()

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        return open_listed(machine.launcher(), directory, manifest, PROGRAM, threads)

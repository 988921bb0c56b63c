"""The tuner's part of this backend: the kernels' of the cpu backend, and a bench that counts where no chip is.

On a processor like the target's, or on a device, times are measured as for any CPU. Elsewhere QEMU counts instructions.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from mdcompiler.backends.arm.machine import is_native
from mdcompiler.backends.clib.tune_kernels import KernelTuner
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.target import Target
from mdcompiler.tuning.record import Record, Unit
from mdcompiler.tuning.records import Records
from mdcompiler.tuning.tunable import Bench, Device


class ArmTuner(KernelTuner):
    """Tunes the templates of `mdcompiler.backends.kernels`."""

    def unit(self, target: Target, device: Device | None) -> Unit:
        """What the bench for a target measures."""
        return "ns" if device is not None or is_native(target) else "instructions"

    def tune_blocks(self, module: Module, network: str, known: Records, progress: Progress) -> dict[str, Record]:
        """See `Tuner.tune_blocks`. Strips save memory traffic, which no count shows: they are timed or not tuned."""
        return super().tune_blocks(module, network, known, progress) if is_native(module.target) else {}

    def bench(self, target: Target, device: Device | None) -> AbstractContextManager[Bench]:
        """See `Tuner.bench`. Raises MissingToolError where neither the processor nor QEMU is."""
        if device is not None or is_native(target):
            return super().bench(target, device)
        from mdcompiler.backends.arm.instruction_bench import InstructionBench

        return InstructionBench(target)

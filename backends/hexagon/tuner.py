"""The tuner's part of this backend: its jobs, and a bench that counts packets under QEMU.

Counts are the same on every run, so one run of each candidate is enough and anybody finds the same schedules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from mdcompiler.backends.hexagon.choose import Chooser, shipped_records
from mdcompiler.backends.hexagon.lower import lower_program
from mdcompiler.backends.hexagon.packet_bench import PacketBench
from mdcompiler.backends.hexagon.templates import TEMPLATES, template_of
from mdcompiler.backends.kernels.choose_schedule import key_of
from mdcompiler.backends.kernels.templates import tools
from mdcompiler.errors import TuningError
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.target import Target
from mdcompiler.tuning.canonical import canonical, complete, plain
from mdcompiler.tuning.record import Record, Schedule, Unit
from mdcompiler.tuning.records import Records
from mdcompiler.tuning.tunable import Bench, Device, Job


class HexagonTuner:
    """Tunes the templates of `templates`."""

    unit: Unit = "packets"

    @property
    def versions(self) -> Mapping[str, int]:
        return {template.name: template.version for template in TEMPLATES}

    @property
    def tools(self) -> Mapping[str, str]:
        return tools()

    @property
    def shipped(self) -> Sequence[Path]:
        return shipped_records()

    def jobs(self, module: Module, trials: int) -> list[Job]:
        """See `Tuner.jobs`."""
        chooser = Chooser.open(module.target)
        lower_program(module.graph, chooser)
        return [job(chooser, work, tuple(kernels), trials) for work, kernels in chooser.asked.items()]

    def tune_blocks(self, module: Module, network: str, known: Records, progress: Progress) -> dict[str, Record]:
        """See `Tuner.tune_blocks`: no choice spans kernels here."""
        return {}

    def bench(self, target: Target, device: Device | None) -> AbstractContextManager[Bench]:
        """See `Tuner.bench`. Raises TuningError for a device, MissingToolError without QEMU."""
        if device is not None:
            raise TuningError(
                f"tuning for {target.name} on {device.host}:{device.port}: packets are counted by QEMU on this "
                "machine. Leave out --rpc and --key."
            )
        return PacketBench(target)


def job(chooser: Chooser, work: Any, kernels: tuple[str, ...], trials: int) -> Job:
    """A workload as the tuner sees it: the `trials` schedules that promise most."""
    template = template_of(work)
    return Job(
        key=key_of(template, work, canonical(tools())),
        workload=plain(work),
        candidates=[complete(schedule) for schedule in template.space(work, chooser.target)[:trials]],
        current=complete(chooser.best(work)),
        kernels=kernels,
        subject=partial(_steps, work, chooser.target),
    )


def _steps(work: Any, target: Target, schedule: Schedule) -> list[tuple[Any, int]]:
    """The functions of a schedule with their iterations."""
    template = template_of(work)
    found = next(item for item in template.space(work, target) if complete(item) == schedule)
    return list(template.steps(work, found))

"""The tuner's part of every backend that goes by way of a C library: its jobs and its benches."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from mdcompiler.backends.clib.emit_library import lowered
from mdcompiler.backends.kernels.choose_schedule import Chooser, key_of, shipped_records
from mdcompiler.backends.kernels.templates import TEMPLATES, Template, templates_for, tools
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.target import Target
from mdcompiler.tuning.canonical import canonical, complete, plain
from mdcompiler.tuning.record import Record, Schedule
from mdcompiler.tuning.records import Records
from mdcompiler.tuning.tunable import Bench, Device, Job

_BY_CHANCE = 0.25
"""Share of the candidates that are drawn and not ranked: what the cost model misjudges has a chance, and its fit
sees more than it likes."""


class KernelTuner:
    """Tunes the templates of `mdcompiler.backends.kernels`."""

    @property
    def versions(self) -> Mapping[str, int]:
        return {template.name: template.version for template in TEMPLATES.values()}

    @property
    def tools(self) -> Mapping[str, str]:
        return tools()

    @property
    def shipped(self) -> Sequence[Path]:
        return shipped_records()

    def jobs(self, module: Module, trials: int) -> list[Job]:
        """See `Tuner.jobs`."""
        chooser = Chooser.open(module.target)
        lowered(module, chooser)
        return [
            job(chooser, template, work, tuple(kernels), trials)
            for work, kernels in chooser.asked.items()
            for template in templates_for(work)
        ]

    def tune_blocks(self, module: Module, network: str, known: Records, progress: Progress) -> dict[str, Record]:
        """See `Tuner.tune_blocks`: which chains of convolutions run over strips."""
        from mdcompiler.backends.clib.tune_strips import tune_strips

        return tune_strips(module, network, known, progress)

    def bench(self, target: Target, device: Device | None) -> AbstractContextManager[Bench]:
        """See `Tuner.bench`."""
        from mdcompiler.backends.clib.local_bench import LocalBench
        from mdcompiler.backends.clib.remote_bench import RemoteBench

        return LocalBench(target) if device is None else RemoteBench(target, device)


def job(chooser: Chooser, template: Template, work: Any, kernels: tuple[str, ...], trials: int) -> Job:
    """A workload under a template as the tuner sees it."""
    current = complete(chooser.best(template, work).schedule)
    return Job(
        key=key_of(template, work, canonical(tools())),
        workload=plain(work),
        candidates=[complete(schedule) for schedule in candidates(chooser, template, work, trials)],
        current=current,
        kernels=kernels,
        subject=partial(steps, template, work, chooser.target),
    )


def candidates(chooser: Chooser, template: Template, work: Any, trials: int) -> list[Any]:
    """At most `trials` schedules: the model's favourites, and some drawn from the rest, always the same ones."""
    ranked = chooser.model.ranked(template, work, chooser.target)
    favourites = trials - int(trials * _BY_CHANCE) if len(ranked) > trials else trials
    rest = ranked[favourites:]
    chance = random.Random(canonical(plain(work)))  # noqa: S311 - a choice to repeat, no secret
    return [*ranked[:favourites], *chance.sample(rest, min(len(rest), trials - favourites))]


def steps(template: Template, work: Any, target: Target, schedule: Schedule) -> list[tuple[Any, int]]:
    """The functions of a schedule with their iterations."""
    found = next(item for item in template.space(work, target) if complete(item) == schedule)
    return list(template.steps(work, found))

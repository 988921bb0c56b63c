"""A tuner without a compiler: jobs of made-up workloads and a bench that knows all times by heart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mdcompiler.target import find_target
from mdcompiler.tuning.canonical import canonical
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Key, Measurement, Record, Schedule
from mdcompiler.tuning.tunable import Job

TOOLS = {"tvm": "0"}
MACHINE = Machine.of(find_target("x86-64-v3"))


def job(size: int, tiles: Sequence[int] = (1, 2, 4), calls: int = 1) -> Job:
    """A workload of `size` whose schedules are tiles; compiled with the first of them."""
    workload = {"size": size}
    kernels = tuple(f"stage{size}/b{index}.conv/conv" for index in range(calls))
    schedules: list[Schedule] = [{"tile": tile} for tile in tiles]
    return Job(
        Key("made-up", 1, canonical(TOOLS), canonical(workload)), workload, schedules, schedules[0], kernels, size
    )


def record(size: int, tile: int = 2, **changes: object) -> Record:
    """What is known of `job(size)`."""
    fields: dict[str, object] = {
        "template": "made-up",
        "version": 1,
        "tools": TOOLS,
        "machine": MACHINE,
        "workload": {"size": size},
        "schedule": {"tile": tile},
        "min_ns": 10.0,
        "median_ns": 11.0,
        "trials": 3,
    }
    return Record.model_validate({**fields, **changes})


def time_ns(size: int, schedule: Mapping[str, object]) -> float:
    """Tile 2 is the fastest."""
    tile = schedule["tile"]
    assert isinstance(tile, int)
    return size * (100.0 + abs(tile - 2))


class KnownBench:
    """Answers by `time_ns`. watched: called with every job that is measured. fails: schedules that never run."""

    def __init__(self, watched: Callable[[Job], None] = lambda job: None, fails: Sequence[int] = ()) -> None:
        self.watched, self.fails = watched, fails
        self.order: list[tuple[int, int]] = []
        """Size of the workload and number of its schedules, as they were measured."""

    def measure(self, jobs: Sequence[tuple[Job, Sequence[Schedule]]]) -> list[list[Measurement]]:
        results = []
        for job, schedules in jobs:
            self.watched(job)
            self.order.append((job.subject, len(schedules)))
            results.append([self._one(job, schedule) for schedule in schedules])
        return results

    def _one(self, job: Job, schedule: Schedule) -> Measurement:
        if schedule["tile"] in self.fails:
            return Measurement(schedule=schedule, failure="running: the process ended with status -6")
        time = time_ns(job.subject, schedule)
        return Measurement(schedule=schedule, min_ns=time, median_ns=time)

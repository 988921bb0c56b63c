"""The tuner: what to measure, in which order, for how long.

1. Jobs that have a record with as many trials are done already.
2. The others are timed once as they are now, and the hottest come first: time of a call x number of calls.
3. Each job's candidates are measured together with the current schedule, and the winner is appended to the
   records before the next job begins. Killed at any moment, the next run goes on behind the last record.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mdcompiler.progress import Progress, silent
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Measurement, Record, Schedule, Unit, now
from mdcompiler.tuning.record_file import append_record
from mdcompiler.tuning.records import Records
from mdcompiler.tuning.tunable import Bench, Job

_AT_ONCE = 8
"""Jobs whose current schedule is timed in one go."""


@dataclass(frozen=True)
class Outcome:
    """What tuning did to one job. before_ns, after_ns: one call, measured side by side; None: not measured.

    state: `tuned` now, `recorded` earlier, `left` when the time was over, `failed` when no candidate ran.
    """

    job: Job
    state: str
    before_ns: float | None
    after_ns: float | None
    failures: tuple[str, ...] = ()


@dataclass(frozen=True)
class Budget:
    """trials: candidates of one job. seconds: of the whole session, infinite for no limit."""

    trials: int
    seconds: float


@dataclass(frozen=True)
class Purpose:
    """What records are made for: the machine, the versions of the tools, and the network's name. unit: of times."""

    machine: Machine
    tools: Mapping[str, str]
    network: str = ""
    unit: Unit = "ns"


class Session:
    """Tunes the jobs of one network on one bench and adds the records to a file."""

    def __init__(
        self,
        bench: Bench,
        purpose: Purpose,
        file: Path,
        progress: Progress = silent,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bench, self._purpose, self._file = bench, purpose, file
        self._progress, self._clock = progress, clock

    def run(self, jobs: Sequence[Job], known: Records, budget: Budget) -> list[Outcome]:
        """Tune within the budget; outcomes in the order of `jobs`. known: what was measured before."""
        start = self._clock()
        done = {job.key: outcome for job in jobs if (outcome := self._recorded(job, known, budget.trials))}
        waiting = self._hottest_first([job for job in jobs if job.key not in done])
        began = self._clock()
        for index, (job, before_ns) in enumerate(waiting):
            left = budget.seconds - (self._clock() - start)
            if left <= 0:
                done[job.key] = Outcome(job, "left", before_ns, None)
                continue
            self._progress("tune kernels", index, _expected(index, len(waiting), self._clock() - began, left))
            done[job.key] = self._tune(job, before_ns)
        self._progress("tune kernels", len(waiting), len(waiting))
        return [done[job.key] for job in jobs]

    def _recorded(self, job: Job, known: Records, trials: int) -> Outcome | None:
        record = known.find(job.key, self._purpose.machine)
        if (
            record is None
            or record.machine != self._purpose.machine
            or record.trials < min(trials, len(job.candidates))
        ):
            return None
        return Outcome(job, "recorded", record.min_ns, record.min_ns)

    def _hottest_first(self, jobs: list[Job]) -> list[tuple[Job, float | None]]:
        """The jobs with the time of a call as they are compiled now."""
        times: list[float | None] = []
        for start in range(0, len(jobs), _AT_ONCE):
            self._progress("profile kernels", start, len(jobs))
            part = jobs[start : start + _AT_ONCE]
            times += [found[0].min_ns for found in self._bench.measure([(job, [job.current]) for job in part])]
        pairs = list(zip(jobs, times, strict=True))
        return sorted(pairs, key=lambda pair: -(pair[1] or 0.0) * len(pair[0].kernels))

    def _tune(self, job: Job, before_ns: float | None) -> Outcome:
        schedules = list(job.candidates)
        if job.current not in schedules:
            schedules.append(job.current)
        (measured,) = self._bench.measure([(job, schedules)])
        record = self._record(job, measured)
        failures = tuple(item.failure for item in measured if item.failure)
        if record is None:
            return Outcome(job, "failed", before_ns, None, failures)
        append_record(self._file, record)
        return Outcome(job, "tuned", _time_of(measured, job.current) or before_ns, record.min_ns, failures)

    def _record(self, job: Job, measured: list[Measurement]) -> Record | None:
        """The fastest by the shortest time: noise only ever adds."""
        ran = [item for item in measured if item.min_ns is not None and item.median_ns is not None]
        if not ran:
            return None
        best = min(ran, key=lambda item: item.min_ns or 0.0)
        return Record(
            template=job.key.template,
            version=job.key.version,
            tools=dict(self._purpose.tools),
            machine=self._purpose.machine,
            workload=dict(job.workload),
            schedule=best.schedule,
            min_ns=best.min_ns or 0.0,
            median_ns=best.median_ns or 0.0,
            unit=self._purpose.unit,
            trials=len(job.candidates),
            when=now(),
            network=self._purpose.network,
            measured=tuple(measured),
        )


def _expected(done: int, jobs: int, spent: float, left: float) -> int:
    """How many jobs the time allows, going by those that are done."""
    return jobs if not done or math.isinf(left) else min(jobs, done + math.ceil(left * done / max(spent, 1e-9)))


def _time_of(measured: list[Measurement], schedule: Schedule) -> float | None:
    return next((item.min_ns for item in measured if item.schedule == schedule), None)

"""What a backend brings so that its kernels can be tuned: jobs, and a bench to measure them on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

from mdcompiler.target import Target
from mdcompiler.tuning.record import Key, Measurement, Record, Schedule, Unit

if TYPE_CHECKING:
    from mdcompiler.module import Module
    from mdcompiler.progress import Progress
    from mdcompiler.tuning.records import Records


class Device(NamedTuple):
    """A device that waits at an RPC tracker under a key."""

    host: str
    port: int
    key: str


@dataclass(frozen=True)
class Job:
    """One workload under one template.

    workload: as records state it. candidates: schedules worth trying, the most promising first. current: the
    one that a compilation takes now. kernels: for whom, each once for every call. subject: the backend's own.
    """

    key: Key
    workload: Mapping[str, Any]
    candidates: Sequence[Schedule]
    current: Schedule
    kernels: tuple[str, ...]
    subject: Any


class Bench(Protocol):
    """Builds and times candidates in processes of their own; a candidate that kills one is reported, not raised."""

    def measure(self, jobs: Sequence[tuple[Job, Sequence[Schedule]]]) -> list[list[Measurement]]:
        """The times of every schedule of every job, in order."""
        ...


class Tuner(Protocol):
    """The part of a backend that tunes."""

    @property
    def versions(self) -> Mapping[str, int]:
        """Template -> version of its code."""
        ...

    @property
    def tools(self) -> Mapping[str, str]:
        """Versions of what compiles kernels."""
        ...

    @property
    def shipped(self) -> Sequence[Path]:
        """Files of records that come with the backend."""
        ...

    def jobs(self, module: Module, trials: int) -> list[Job]:
        """What can be tuned in a placed network: each workload once, with at most `trials` candidates."""
        ...

    def tune_blocks(self, module: Module, network: str, known: Records, progress: Progress) -> dict[str, Record]:
        """Records of choices that span kernels, by their name, measured on this machine; `known` ones are left out.

        The first measurement of a record is the kernels one after the other.
        """
        ...

    def bench(self, target: Target, device: Device | None) -> AbstractContextManager[Bench]:
        """A place to measure: a core of this machine, or a device. Raises TuningError when there is none."""
        ...


def unit_of(tuner: Tuner, target: Target, device: Device | None = None) -> Unit:
    """What the tuner's bench measures: nanoseconds, unless it has an attribute `unit`, or a method of that name that
    takes the target and the device, which says otherwise."""
    found: Unit | Callable[[Target, Device | None], Unit] = getattr(tuner, "unit", "ns")
    return found(target, device) if callable(found) else found


@runtime_checkable
class Tunable(Protocol):
    """A backend whose kernels can be tuned."""

    def tuner(self) -> Tuner: ...

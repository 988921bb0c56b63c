"""One record: the schedules of one workload under one template on one machine, and how long they took."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from mdcompiler.tuning.canonical import canonical
from mdcompiler.tuning.machine import Machine

MOST_MEASURED = 512
Scalar = bool | int | str
Unit = Literal["ns", "packets", "instructions"]
"""What is measured: nanoseconds, or what an emulator counts, the same on every run."""
Schedule = Annotated[dict[str, Scalar], Field(max_length=32)]
Nanoseconds = Annotated[float, Field(gt=0, lt=1e13, allow_inf_nan=False)]


class Measurement(BaseModel):
    """Times of one call under one schedule. failure: why there are none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schedule: Schedule
    min_ns: Nanoseconds | None = None
    median_ns: Nanoseconds | None = None
    failure: str = Field(default="", max_length=400)


class Key(NamedTuple):
    """What a record is looked up by, besides the machine. workload, tools: canonical JSON."""

    template: str
    version: int
    tools: str
    workload: str


class Record(BaseModel):
    """A line of a records file.

    template, version: which code, bumped whenever its loops change. tools: versions of what compiled it.
    workload: as data. schedule: the best one; min_ns, median_ns: of one call with it, in `unit`. trials: how many
    were tried. when: ISO 8601, UTC. network: for which it was tuned; it may serve any. measured: all that were tried
    in the same run, comparable with one another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str = Field(min_length=1, max_length=64)
    version: int = Field(ge=1, lt=1 << 31)
    tools: dict[str, str] = Field(default_factory=dict, max_length=16)
    machine: Machine
    workload: dict[str, Any]
    schedule: Schedule
    min_ns: Nanoseconds
    median_ns: Nanoseconds
    unit: Unit = "ns"
    trials: int = Field(ge=1, lt=1 << 31)
    when: str = Field(default="", max_length=40)
    network: str = Field(default="", max_length=200)
    measured: tuple[Measurement, ...] = Field(default=(), max_length=MOST_MEASURED)

    @property
    def key(self) -> Key:
        return Key(self.template, self.version, canonical(self.tools), canonical(self.workload))

    def line(self) -> str:
        """The record as one line of JSON, without its end."""
        return canonical(self.model_dump(mode="json", exclude_defaults=True))


def now() -> str:
    """The time, as records state it."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")

"""The one place where a schedule is chosen: by record where there is one, else by the cost model.

The same records, target and toolkit always give the same choice; nothing is measured here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from mdcompiler.backends.kernels.cost_model import CostModel
from mdcompiler.backends.kernels.templates import TEMPLATES, Template, templates_for, tools
from mdcompiler.errors import InternalError
from mdcompiler.target import Target
from mdcompiler.tuning.canonical import canonical, complete, plain
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Key, Record
from mdcompiler.tuning.records import Records, open_records, user_file

RECORDS = Path(__file__).with_name("records")
Self = TypeVar("Self", bound="RecordChooser")


@dataclass(frozen=True)
class Choice:
    """A template and its schedule for a workload. time_ns: measured, or the model's estimate; None: neither."""

    template: Template
    schedule: Any
    time_ns: float | None
    measured: bool


class RecordChooser:
    """Knows the records for one target, and remembers who asked for what: that is what can be tuned.

    asked: workload -> names of the kernels it was asked for. folder: the records that ship.
    """

    folder: ClassVar[Path] = RECORDS

    def __init__(self, target: Target, records: Records) -> None:
        self.target, self.records = target, records
        self.asked: dict[Any, list[str]] = {}
        self._machine = Machine.of(target)
        self._tools = canonical(tools())

    @classmethod
    def open(cls: type[Self], target: Target) -> Self:
        """With the shipped records and the user's. Raises RecordsError when a line of theirs is bad."""
        return cls(target, open_records(shipped_records(cls.folder), user_file()))

    def record(self, template: Template, work: Any) -> Record | None:
        """What was measured."""
        return self.records.find(key_of(template, work, self._tools), self._machine)

    def recorded(self, template: Template, work: Any, record: Record | None) -> Any | None:
        """The schedule in a record of `work`; None without one, or when the template has no such schedule any more."""
        return None if record is None else decode(template, work, record.schedule, self.target)


class Chooser(RecordChooser):
    """Chooses by record or by the cost model."""

    def __init__(self, target: Target, records: Records, model: CostModel | None = None) -> None:
        super().__init__(target, records)
        self.model = model or CostModel.shipped()

    def schedule(self, name: str, work: Any, kernel: str = "") -> Any:
        """The schedule of one template. kernel: who asks."""
        self.asked.setdefault(work, []).append(kernel)
        return self.best(TEMPLATES[name], work).schedule

    def choose(self, work: Any, kernel: str = "", direct: bool = False) -> Choice:
        """The fastest of all templates that can compute `work`; what was measured goes before what was estimated.

        direct: only of those that sum their products as they are.
        """
        self.asked.setdefault(work, []).append(kernel)
        choices = [self.best(template, work) for template in templates_for(work) if template.direct or not direct]
        if not choices:
            raise InternalError(f"no template computes {work}.")
        return min(
            choices, key=lambda choice: (not choice.measured, math.inf if choice.time_ns is None else choice.time_ns)
        )

    def best(self, template: Template, work: Any) -> Choice:
        """The best known schedule of one template."""
        record = self.record(template, work)
        schedule = self.recorded(template, work, record)
        if record is not None and schedule is not None:
            return Choice(template, schedule, record.min_ns, measured=True)
        schedule = self.model.ranked(template, work, self.target)[0]
        return Choice(template, schedule, self.model.time_ns(template, work, schedule, self.target), measured=False)


def key_of(template: Template, work: Any, tools_json: str) -> Key:
    """What the records of a workload are looked up by."""
    return Key(template.name, template.version, tools_json, canonical(plain(work)))


def decode(template: Template, work: Any, data: Mapping[str, Any], target: Target) -> Any | None:
    """A recorded schedule; None when the template has no such schedule for this workload."""
    wanted = dict(data)
    return next((schedule for schedule in template.space(work, target) if complete(schedule) == wanted), None)


def shipped_records(folder: Path = RECORDS) -> list[Path]:
    """The files of records that come with the kernels."""
    return sorted(folder.glob("*.jsonl"))

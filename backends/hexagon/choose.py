"""Which schedule a kernel gets: the recorded one, or the one with the least estimated packets.

The same records, target and toolkit always give the same choice; nothing is counted here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mdcompiler.backends.hexagon.templates import template_of, workload_of
from mdcompiler.backends.kernels.choose_schedule import decode, key_of
from mdcompiler.backends.kernels.templates import tools
from mdcompiler.target import Target
from mdcompiler.tuning.canonical import canonical
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Record
from mdcompiler.tuning.records import Records, open_records, user_file

RECORDS = Path(__file__).with_name("records")


class Chooser:
    """Chooses for one target, and remembers who asked for what: that is what can be tuned.

    asked: workload -> names of the kernels it was asked for.
    """

    def __init__(self, target: Target, records: Records) -> None:
        self.target, self.records = target, records
        self.asked: dict[Any, list[str]] = {}
        self._machine = Machine.of(target)
        self._tools = canonical(tools())

    @classmethod
    def open(cls, target: Target) -> Chooser:
        """With the shipped records and the user's. Raises RecordsError when a line of theirs is bad."""
        return cls(target, open_records(shipped_records(), user_file()))

    def schedule(self, work: Any, kernel: str = "") -> Any:
        """The schedule of `work`, a workload of one of the templates. kernel: who asks."""
        bare = workload_of(work)
        self.asked.setdefault(bare, []).append(kernel)
        return self.best(bare)

    def best(self, work: Any) -> Any:
        """The best known schedule."""
        template, record = template_of(work), self.record(work)
        found = None if record is None else decode(template, work, record.schedule, self.target)
        return found if found is not None else template.space(work, self.target)[0]

    def record(self, work: Any) -> Record | None:
        """What was counted."""
        return self.records.find(key_of(template_of(work), work, self._tools), self._machine)


def shipped_records() -> list[Path]:
    """The files of records that come with the backend."""
    return sorted(RECORDS.glob("*.jsonl"))

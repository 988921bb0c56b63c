"""Which schedule a kernel gets: the recorded one, or the one with the least estimated packets.

The same records, target and toolkit always give the same choice; nothing is counted here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from mdcompiler.backends.hexagon.templates import template_of, workload_of
from mdcompiler.backends.kernels import choose_schedule

RECORDS = Path(__file__).with_name("records")


class Chooser(choose_schedule.RecordChooser):
    """Chooses by record or by the templates' estimates."""

    folder: ClassVar[Path] = RECORDS

    def schedule(self, work: Any, kernel: str = "") -> Any:
        """The schedule of `work`, a workload of one of the templates. kernel: who asks."""
        bare = workload_of(work)
        self.asked.setdefault(bare, []).append(kernel)
        return self.best(bare)

    def best(self, work: Any) -> Any:
        """The best known schedule."""
        template = template_of(work)
        found = self.recorded(template, work, self.record(template, work))
        return found if found is not None else template.space(work, self.target)[0]


def shipped_records() -> list[Path]:
    """The files of records that come with the backend."""
    return choose_schedule.shipped_records(RECORDS)

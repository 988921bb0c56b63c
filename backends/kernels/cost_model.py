"""How long a kernel would take, from counts of what it does and times fitted on records.

time = sum over the template's terms of count x nanoseconds, all nanoseconds >= 0. The times are in
`cost_model.json` for each template and vector width, with their error; `fit_cost_model` writes that file.
A width that was never measured takes the times of the nearest one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mdcompiler.backends.kernels.templates import Template
from mdcompiler.target import Target

FILE = Path(__file__).with_name("cost_model.json")
Times = Mapping[str, float]
Table = Mapping[str, Mapping[str, Times]]
"""Template -> vector bytes, as a word -> term -> nanoseconds."""


class CostModel:
    """Estimates of time."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @classmethod
    def shipped(cls) -> CostModel:
        return cls(_read(FILE))

    def time_ns(self, template: Template, work: Any, schedule: Any, target: Target) -> float | None:
        """Nanoseconds of one call on one thread; None when the template was never fitted."""
        times = self._times(template, target)
        if times is None or template.counts is None:
            return None
        counts = template.counts(work, schedule, target)
        return sum(count * times.get(term, 0.0) for term, count in zip(template.terms, counts, strict=True))

    def ranked(self, template: Template, work: Any, target: Target) -> list[Any]:
        """The template's schedules, cheapest first; equals keep the order of the space."""
        space: Sequence[Any] = template.space(work, target)
        if self._times(template, target) is None or template.counts is None:
            return list(space)
        return sorted(space, key=lambda schedule: self.time_ns(template, work, schedule, target) or 0.0)

    def _times(self, template: Template, target: Target) -> Times | None:
        widths = self._table.get(template.name)
        if not widths:
            return None
        return widths[min(widths, key=lambda width: abs(int(width) - target.vector_bytes))]


@lru_cache(maxsize=1)
def _read(path: Path) -> Table:
    content = json.loads(path.read_text())
    return {
        name: {width: item["nanoseconds"] for width, item in widths.items()}
        for name, widths in content["templates"].items()
    }

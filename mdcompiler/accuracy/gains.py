"""What each method of quantization gained: the network is quantized and measured before and after each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from mdcompiler.accuracy.compare import Accuracy

Step = tuple[str, Callable[[], int]]
"""Name of a method, and what carries it out and says how many edits it made."""


@dataclass(frozen=True)
class Gain:
    """One method. ends_db, blocks_db: end or block -> signal-to-noise (before, after), dB. seconds: of the method."""

    method: str
    edits: int
    seconds: float
    ends_db: dict[str, tuple[float, float]]
    blocks_db: dict[str, tuple[float, float]]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def run_steps(steps: Iterable[Step], measure: Callable[[], Accuracy] | None = None) -> tuple[int, list[Gain]]:
    """Carry out `steps` in order; the edits of all, and with `measure` what each gained."""
    edits, gains = 0, []
    before = measure() if measure is not None else None
    for name, run in steps:
        started = time.perf_counter()
        made = run()
        edits += made
        if measure is None or before is None:
            continue
        seconds = time.perf_counter() - started
        after = measure() if made else before
        gains.append(_gain(name, made, seconds, before, after))
        before = after
    return edits, gains


def _gain(name: str, edits: int, seconds: float, before: Accuracy, after: Accuracy) -> Gain:
    old = {row.block: row.snr_db for row in before.blocks}
    ends = {end: (before.ends_db[end], value) for end, value in after.ends_db.items() if end in before.ends_db}
    blocks = {row.block: (old[row.block], row.snr_db) for row in after.blocks if row.block in old}
    return Gain(name, edits, round(seconds, 3), ends, blocks)

"""What tuning gained, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mdcompiler.names import block_of
from mdcompiler.tuning.record import Unit
from mdcompiler.tuning.session import Outcome


@dataclass(frozen=True)
class BlockRow:
    """What one run of a block's tunable kernels takes, in `unit`; kernels: how many of how many were tuned."""

    block: str
    before: float
    after: float
    tuned: int
    kernels: int
    unit: str = "us"

    def as_dict(self) -> dict[str, str | float | int]:
        """Plain values for JSON: block, before_us, after_us (or before_packets …), tuned, kernels."""
        costs = {f"before_{self.unit}": self.before, f"after_{self.unit}": self.after}
        return {"block": self.block, **costs, "tuned": self.tuned, "kernels": self.kernels}


def block_rows(outcomes: Sequence[Outcome], kernels: Sequence[str], unit: Unit = "ns") -> list[BlockRow]:
    """One row for each block. kernels: their names in the order of the network. unit: of the outcomes.

    Of several templates for one kernel the fastest counts. What was not measured is left out.
    """
    best: dict[str, tuple[float, float, bool]] = {}
    for outcome in outcomes:
        for kernel in outcome.job.kernels:
            times = _times(outcome)
            if times is not None and (kernel not in best or times[1] < best[kernel][1]):
                before = min(times[0], best[kernel][0]) if kernel in best else times[0]
                best[kernel] = (before, times[1], outcome.state == "tuned")
    blocks = dict.fromkeys(block_of(kernel) for kernel in kernels if kernel in best)
    return [
        _row(block, [times for kernel, times in best.items() if block_of(kernel) == block], unit) for block in blocks
    ]


def _times(outcome: Outcome) -> tuple[float, float, bool] | None:
    before, after = outcome.before_ns, outcome.after_ns or outcome.before_ns
    return None if before is None or after is None else (before, after, outcome.state == "tuned")


def _row(block: str, times: list[tuple[float, float, bool]], unit: Unit) -> BlockRow:
    shown, parts = ("us", 1e3) if unit == "ns" else (unit, 1)
    before, after = (sum(item[side] for item in times) / parts for side in (0, 1))
    return BlockRow(block, before, after, sum(item[2] for item in times), len(times), shown)

"""What tuning gained, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mdcompiler.names import block_of
from mdcompiler.tuning.session import Outcome


@dataclass(frozen=True)
class BlockRow:
    """Times of one run of a block's tunable kernels, in microseconds; kernels: how many of how many were tuned."""

    block: str
    before_us: float
    after_us: float
    tuned: int
    kernels: int

    def as_dict(self) -> dict[str, str | float | int]:
        return dict(vars(self))


def block_rows(outcomes: Sequence[Outcome], kernels: Sequence[str]) -> list[BlockRow]:
    """One row for each block. kernels: their names in the order of the network.

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
    return [_row(block, [times for kernel, times in best.items() if block_of(kernel) == block]) for block in blocks]


def _times(outcome: Outcome) -> tuple[float, float, bool] | None:
    before, after = outcome.before_ns, outcome.after_ns or outcome.before_ns
    return None if before is None or after is None else (before, after, outcome.state == "tuned")


def _row(block: str, times: list[tuple[float, float, bool]]) -> BlockRow:
    before, after = (sum(item[side] for item in times) / 1e3 for side in (0, 1))
    return BlockRow(block, before, after, sum(item[2] for item in times), len(times))

"""The cheapest precision of every block that keeps the limits, by a bounded number of measurements.

The blocks are put in the order of what they spoil for what they cost. Greedy choices of this kind are what NNCF's
accuracy control and TensorRT's tools make; here the length of the list is found by halving, so that a network of 30
blocks takes about ten measurements:

1. all int8: nothing to do when that keeps the limits;
2. for each better precision, cheap ones first: all blocks that the budget allows. The first that keeps them is it;
3. the shortest beginning of the list that keeps them still;
4. from what is left, the blocks that can go back by themselves, the dearest first, and then, one at a time, those
   for which a cheaper precision is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mdcompiler.accuracy.judge import Judgement
from mdcompiler.accuracy.metrics import DECIBELS
from mdcompiler.accuracy.sensitivity import Sensitivity
from mdcompiler.quantization.scheme import Precision
from mdcompiler.same_everywhere import exp

Measure = Callable[[Mapping[str, Precision]], Judgement]
"""The precisions of the blocks that are not int8 -> what that network loses."""
_TRIALS = 4
"""How many blocks are tried by themselves at the end."""
_SMALL = 0.01
"""Share of the network's work that a block counts for at least: leaving int8 has a price of its own."""


@dataclass(frozen=True)
class Choice:
    """precision: of every block that is not int8. share: of the multiply-adds that are in these blocks."""

    precision: dict[str, Precision]
    judgement: Judgement
    share: float = 0.0


def by_worth(rows: Sequence[Sensitivity], share: Mapping[str, float]) -> list[str]:
    """Blocks, those first that spoil most for the work that is in them. share: of the multiply-adds, by block."""

    def worth(row: Sensitivity) -> float:
        return float(exp(-row.snr_db / DECIBELS)) / max(share.get(row.block, 0.0), _SMALL)

    return [row.block for row in sorted(rows, key=worth, reverse=True)]


def cheapest(
    measure: Measure,
    order: Sequence[str],
    rungs: Sequence[Precision],
    share: Mapping[str, float],
    budget: float = 1.0,
) -> Choice:
    """The cheapest choice that keeps the limits; where none does, the best one seen, with its faults.

    order: blocks, those first that are worth most. rungs: what is better than int8 here, cheap ones first.
    budget: largest share of the multiply-adds in blocks that are not int8.
    """
    best = Choice({}, measure({}))
    allowed = _affordable(order, share, budget)
    for rung in rungs if allowed else ():
        if not best.judgement.faults:
            break
        whole = _choose(measure, dict.fromkeys(allowed, rung), share)
        if whole.judgement.faults:
            best = max(best, whole, key=lambda item: item.judgement.accuracy.worst_db)
            continue
        short = _shortest(measure, allowed, whole, rung, share)
        best = _relax(measure, short, (None, *rungs[: list(rungs).index(rung)]), share)
    return best


def _choose(measure: Measure, precision: dict[str, Precision], share: Mapping[str, float]) -> Choice:
    return Choice(precision, measure(precision), sum(share.get(block, 0.0) for block in precision))


def _affordable(order: Sequence[str], share: Mapping[str, float], budget: float) -> list[str]:
    found, spent = [], 0.0
    for block in order:
        if spent + share.get(block, 0.0) <= budget:
            found.append(block)
            spent += share.get(block, 0.0)
    return found


def _shortest(
    measure: Measure, allowed: Sequence[str], whole: Choice, rung: Precision, share: Mapping[str, float]
) -> Choice:
    """The shortest beginning of `allowed` that keeps the limits; `whole` is all of it and does."""
    best, fails, keeps = whole, 0, len(allowed)
    while keeps - fails > 1:
        middle = (fails + keeps) // 2
        found = _choose(measure, dict.fromkeys(allowed[:middle], rung), share)
        if found.judgement.faults:
            fails = middle
        else:
            best, keeps = found, middle
    return best


def _relax(measure: Measure, choice: Choice, cheaper: Sequence[Precision | None], share: Mapping[str, float]) -> Choice:
    """`choice` with blocks taken back to `cheaper` precisions (None: int8), the dearest blocks first."""
    for block in sorted(choice.precision, key=lambda name: -share.get(name, 0.0))[:_TRIALS]:
        for rung in cheaper:
            rest = {name: precision for name, precision in choice.precision.items() if name != block}
            found = _choose(measure, rest if rung is None else {**rest, block: rung}, share)
            if not found.judgement.faults:
                choice = found
                break
    return choice

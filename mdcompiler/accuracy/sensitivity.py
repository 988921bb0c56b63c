"""Which block costs how much: quantize one at a time, and find the cheapest precision for each.

Every measurement runs the network with one block quantized and all others in float, so that a row speaks of its
block alone. The choice is greedy by that table, as in NNCF's and TensorRT's tools: while the whole network is past
the limits, the block that costs most gets the next better precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mdcompiler.accuracy.compare import Accuracy, compare
from mdcompiler.accuracy.gates import Fault, Limits, faults
from mdcompiler.calibration.samples import ListedSamples, Samples
from mdcompiler.kernel import kernels
from mdcompiler.module import Module
from mdcompiler.progress import Progress, silent
from mdcompiler.quantization.scheme import Precision

Quantize = Callable[[Module, Mapping[str, Precision]], Module]
"""A quantized copy of a float network; the mapping gives blocks a precision, int8 is everyone else's."""

LADDER: tuple[Precision, ...] = ("int8", "int16", "float")
"""From cheap to dear."""


@dataclass(frozen=True)
class Sensitivity:
    """What one block alone costs. snr_db: of the worst end of the network; the others as in `Accuracy`."""

    block: str
    snr_db: float
    lost_share: float | None
    changed_share: float | None
    box_error_px: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """The precision of every block that is not int8, what it comes to, and the limits that it still passes."""

    precision: dict[str, Precision]
    accuracy: Accuracy
    faults: tuple[Fault, ...]


def sensitivities(
    module: Module, quantize: Quantize, samples: Samples, progress: Progress = silent
) -> list[Sensitivity]:
    """One row for every block with work in it, the most sensitive first."""
    blocks = quantizable_blocks(module)
    kept = ListedSamples(list(samples))
    rows = []
    for index, block in enumerate(blocks):
        progress(f"sensitivity of {block}", index, len(blocks))
        others: dict[str, Precision] = {name: "float" for name in blocks if name != block}
        found = compare(module, quantize(module, others), kept, ends_only=True)
        rows.append(Sensitivity(block, found.worst_db, found.lost_share, found.changed_share, found.box_error_px))
    return sorted(rows, key=lambda row: row.snr_db)


def quantizable_blocks(module: Module) -> list[str]:
    """The blocks that may be quantized, in order of execution."""
    return list(dict.fromkeys(kernel.block for kernel in kernels(module.graph) if kernel.kind != "postprocess"))


def cheapest(
    module: Module,
    quantize: Quantize,
    samples: Samples,
    order: Sequence[str],
    limits: Limits | None = None,
    ladder: Sequence[Precision] = LADDER,
    budget: int | None = None,
    progress: Progress = silent,
) -> Choice:
    """Raise the precision of blocks until the network keeps `limits`, the first of `order` first.

    order: blocks, most sensitive first. ladder: precisions from cheap to dear; the first is everyone's start.
    budget: how many blocks may leave the first rung, None for any number. The best found is returned when no choice
    keeps the limits; its `faults` say what is left.
    """
    kept = ListedSamples(list(samples))
    best = _measure(module, quantize, {}, kept, limits)
    for step, block in enumerate(order[:budget]):
        if not best.faults:
            break
        progress(f"raising {block}", step, len(order))
        best = _raise(module, quantize, kept, limits, best, block, ladder[1:])
    return best


def _raise(
    module: Module,
    quantize: Quantize,
    samples: Samples,
    limits: Limits | None,
    before: Choice,
    block: str,
    rungs: Sequence[Precision],
) -> Choice:
    """The cheapest precision of `block` that keeps the limits; else the one after which nothing is gained."""
    best = before
    for rung in rungs:
        found = _measure(module, quantize, {**before.precision, block: rung}, samples, limits)
        if not found.faults:
            return found
        if found.accuracy.worst_db > best.accuracy.worst_db + 0.1:
            best = found
    return best


def _measure(
    module: Module, quantize: Quantize, precision: Mapping[str, Precision], samples: Samples, limits: Limits | None
) -> Choice:
    accuracy = compare(module, quantize(module, precision), samples)
    return Choice(dict(precision), accuracy, tuple(faults(accuracy, limits)))

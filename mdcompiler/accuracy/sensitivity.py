"""Which block costs how much: quantize one at a time.

Every measurement runs the network with one block quantized and all others in float, so that a row speaks of its
block alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mdcompiler.accuracy.compare import compare
from mdcompiler.calibration.samples import ListedSamples, Samples
from mdcompiler.kernel import kernels
from mdcompiler.module import Module
from mdcompiler.progress import Progress, silent
from mdcompiler.quantization.scheme import Precision

MakeQuantized = Callable[[Module, Mapping[str, Precision]], Module]
"""A quantized copy of a float network; the mapping gives blocks a precision, int8 is everyone else's."""


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


def sensitivities(
    module: Module, quantize: MakeQuantized, samples: Samples, progress: Progress = silent
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


def work_shares(module: Module) -> dict[str, float]:
    """Block -> its share of the network's multiply-adds."""
    shares: dict[str, float] = dict.fromkeys(quantizable_blocks(module), 0.0)
    for kernel in kernels(module.graph):
        if kernel.block in shares:
            shares[kernel.block] += kernel.macs
    total = sum(shares.values()) or 1.0
    return {block: macs / total for block, macs in shares.items()}

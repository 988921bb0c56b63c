"""Gates: past these limits a quantized network is not shipped.

A message names the block at fault and the cheapest thing to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from mdcompiler.accuracy.compare import Accuracy
from mdcompiler.errors import MdcError


class AccuracyError(MdcError):
    """A quantized network lost more than the limits allow."""


@dataclass(frozen=True)
class Limits:
    """What quantization may cost, measured against the float network on calibration data.

    block_snr_db: least signal-to-noise of a block's result. saturation: largest share of a tensor's values that its
    integers cannot hold. head_steps: fewest steps of its scale that a prediction's real values must span.
    changed_share, lost_share: see `metrics.Anchors`. box_error_px: mean shift of the edges of detections.
    map_points: loss of mean average precision in points of 100.
    """

    block_snr_db: float = 5.0
    saturation: float = 0.05
    head_steps: float = 16.0
    changed_share: float = 0.02
    lost_share: float = 0.1
    box_error_px: float = 3.0
    map_points: float = 1.0


@dataclass(frozen=True)
class Fault:
    """One limit that is passed. block: who is at fault, "" for the whole network; fix: what to do, an imperative."""

    block: str
    measure: str
    value: float
    limit: float
    fix: str

    def as_dict(self) -> dict[str, str | float]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        where = f"{self.block}: " if self.block else ""
        return f"{where}{self.measure} is {self.value:.3g}, {self.limit:g} is allowed. {self.fix}"


def faults(accuracy: Accuracy, limits: Limits | None = None) -> list[Fault]:
    """The limits that are passed, the most telling first."""
    limits = limits or Limits()
    return [
        *_heads(accuracy, limits),
        *_saturated(accuracy, limits),
        *_noisy(accuracy, limits),
        *_ends(accuracy, limits),
    ]


def refuse(found: Sequence[Fault], cure: str = "", network: str = "the network") -> None:
    """Raise AccuracyError for `found`, if there is any. cure: what was measured to be enough, a sentence."""
    if not found:
        return
    more = f" ({len(found) - 1} more limits are passed.)" if len(found) > 1 else ""
    raise AccuracyError(
        f"quantizing {network}: {found[0]}{more} {cure + ' ' if cure else ''}"
        "See `mdc quantize --report`, or accept it with --allow-degraded."
    )


def _heads(accuracy: Accuracy, limits: Limits) -> Iterator[Fault]:
    for block, steps in sorted(accuracy.head_steps.items(), key=lambda item: item[1]):
        if steps < limits.head_steps:
            fix = "Its scale is made for other values: keep a scale for every level, or give this block 16 bits."
            yield Fault(block, "steps of the scale that its predictions span", steps, limits.head_steps, fix)


def _saturated(accuracy: Accuracy, limits: Limits) -> Iterator[Fault]:
    for row in sorted(accuracy.blocks, key=lambda row: -row.saturation):
        if row.saturation > limits.saturation:
            fix = "Its range is too small: calibrate by min-max, or with more pictures."
            yield Fault(row.block, "share of values beyond the range", row.saturation, limits.saturation, fix)


def _noisy(accuracy: Accuracy, limits: Limits) -> Iterator[Fault]:
    """The first block below the limit; those after it have the noise from it."""
    for row in accuracy.blocks:
        if row.snr_db < limits.block_snr_db:
            fix = "Give this block 16-bit activations, or leave it in float."
            yield Fault(row.block, "signal-to-noise ratio in dB", row.snr_db, limits.block_snr_db, fix)
            return


def _ends(accuracy: Accuracy, limits: Limits) -> Iterator[Fault]:
    fix = "Find the block with `mdc quantize --report` and give it 16-bit activations or float."
    rows = (
        ("share of detections lost", accuracy.lost_share, limits.lost_share),
        ("share of anchors whose class changes", accuracy.changed_share, limits.changed_share),
        ("shift of boxes in pixels", accuracy.box_error_px, limits.box_error_px),
        ("loss of mean average precision in points", accuracy.map_lost, limits.map_points),
    )
    for measure, value, limit in rows:
        if value is not None and value > limit:
            yield Fault("", measure, value, limit, fix)

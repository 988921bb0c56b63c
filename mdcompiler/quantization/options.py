"""What a user may say about quantizing a network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mdcompiler.errors import UnsupportedError
from mdcompiler.quantization.scheme import Precision

METHODS = ("equalize-cross-layer", "round-adaptively", "correct-bias", "refine-ranges")
"""What improves a quantized network, in the order in which it runs."""
_FLOAT: Precision = "float"
_WIDE: Precision = "int16"


@dataclass(frozen=True)
class Quantize:
    """How to quantize.

    calibration: folder of pictures, or .npz file. annotations: COCO file about them; mean average precision is then
    measured, too. max_loss: points of 100 that may be lost, of mean average precision with annotations, else of
    the detections of the calibration data; blocks leave int8 until that holds. budget: largest share of the
    multiply-adds in such blocks. keep_float, wide: blocks or kernels that stay float, or get 16-bit activations,
    whatever is measured. without: METHODS to leave out. ranges: how ranges are found (`mdcompiler.calibration`).
    samples, compared: how many samples ranges are found on, and costs are measured on. report: measure what every
    block costs and every method gains. allow_degraded: ship a network that lost too much as well.
    """

    calibration: Path
    annotations: Path | None = None
    max_loss: float | None = None
    budget: float = 0.5
    keep_float: tuple[str, ...] = ()
    wide: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    ranges: str = "mse"
    samples: int = 128
    compared: int = 16
    report: bool = False
    allow_degraded: bool = False

    def __post_init__(self) -> None:
        unknown = sorted(set(self.without) - set(METHODS))
        if unknown:
            raise UnsupportedError(
                f"quantizing without {', '.join(unknown)}: the methods are {', '.join(METHODS)}. Name one of these."
            )
        both = sorted(set(self.keep_float) & set(self.wide))
        if both:
            raise UnsupportedError(
                f"quantizing: {', '.join(both)} is to stay float and to have 16-bit activations. Choose one of both."
            )

    @classmethod
    def plainly(cls, calibration: Path) -> Quantize:
        """For integers to be compared or timed, whatever the network then detects: no method runs, no loss refuses."""
        return cls(calibration, without=METHODS, ranges="min-max", compared=1, allow_degraded=True)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that run."""
        return tuple(name for name in METHODS if name not in self.without)

    @property
    def precision(self) -> dict[str, Precision]:
        """Block or kernel -> precision, of those the user has decided."""
        return {**dict.fromkeys(self.keep_float, _FLOAT), **dict.fromkeys(self.wide, _WIDE)}

"""The two published rules that round a channel count to what hardware likes.

* half-up: MobileDet's and TuNAS's `scale_filters` (tensorflow/models, ssd_mobiledet_feature_extractor.py).
* make-divisible: MobileNetV2's and V3's (tensorflow/models, research/slim/nets/mobilenet): to the nearest
  multiple, but never below 90 % of the wanted number.
"""

from __future__ import annotations

from mdcompiler.spec.blocks import Part
from mdcompiler.spec.fields import Channels, Divisor, Rule


class Rounding(Part):
    """How scaled channel counts become multiples of `divisor`.

    minimum: the fewest channels the width multiplier leaves; inner ranks and squeezes only keep `divisor`.
    """

    rule: Rule = "half-up"
    divisor: Divisor = 8
    minimum: Channels = 8

    def width(self, channels: int, multiplier: float) -> int:
        """A block's channels at a width multiplier; at 1 they stay as the spec has them."""
        return channels if multiplier == 1 else self._round(channels * multiplier, self.minimum)

    def inner(self, channels: int, ratio: float) -> int:
        """The channels inside a block: an expansion, a rank, a squeeze."""
        return self._round(channels * ratio, self.divisor)

    def _round(self, wanted: float, minimum: int) -> int:
        """
        >>> Rounding()._round(18, 8), Rounding(rule="make-divisible")._round(18, 8)
        (16, 24)
        """
        if self.rule == "half-up":
            return max(int(wanted / self.divisor + 0.5) * self.divisor, minimum)
        rounded = max(minimum, int(wanted + self.divisor / 2) // self.divisor * self.divisor)
        return rounded + self.divisor if rounded < 0.9 * wanted else rounded

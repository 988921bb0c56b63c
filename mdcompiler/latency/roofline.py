"""The roofline of a chip: an operation takes the longer of its arithmetic and its traffic at the published peaks.

Williams, Waterman, Patterson: Roofline (CACM 2009). Sizes are padded to what the hardware works on at a
time. Every cost is a sum over operations, so costs of blocks add up to those of the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mdcompiler.latency.chip import Chip, element_bytes
from mdcompiler.latency.work import Work, works_of
from mdcompiler.spec.steps import Step


@dataclass(frozen=True)
class Cost:
    """launches: operations started. roof_us: sum of their rooflines. weight_bytes: of their filters."""

    launches: int = 0
    roof_us: float = 0.0
    weight_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.launches + other.launches, self.roof_us + other.roof_us, self.weight_bytes + other.weight_bytes
        )


@dataclass(frozen=True)
class Machine:
    """A chip computing in `precision` on `cores` of its cores."""

    chip: Chip
    precision: str
    cores: int

    def cost(self, steps: Iterable[Step]) -> Cost:
        """What `steps` cost here."""
        total = Cost()
        for step in steps:
            for work in works_of(step):
                total += Cost(1, self.roof_us(work), work.weights * element_bytes(self.precision))
        return total

    def roof_us(self, work: Work) -> float:
        """Microseconds of one operation at the peaks."""
        return max(self._arithmetic_us(work), self._traffic_us(work))

    def stream_us(self, weight_bytes: int) -> float:
        """Microseconds to fetch, at every run, the weights that do not fit on the chip."""
        if self.chip.link_gb_s is None:
            return 0.0
        return max(0.0, weight_bytes - self.chip.on_chip_bytes.value) / (self.chip.link_gb_s.value * 1e3)

    def _arithmetic_us(self, work: Work) -> float:
        peaks = self.chip.peaks(self.precision)
        speed = peaks.vector_gmacs if work.kind == "depthwise" else peaks.matrix_gmacs
        return self._padded_macs(work) / (speed.value * 1e3 * self.cores / self.chip.cores)

    def _padded_macs(self, work: Work) -> float:
        if work.kind in ("elementwise", "depthwise"):
            return work.macs
        depth = _pad(work.depth, self.chip.depth_multiple.value)
        return work.pixels * depth * _pad(work.channels, self.chip.output_multiple.value)

    def _traffic_us(self, work: Work) -> float:
        """An array keeps weights and the tensors that fit; others read and write all of them."""
        size = element_bytes(self.precision)
        moved = work.elements * size
        if self.chip.family != "array":
            moved += work.weights * size
        elif moved <= self.chip.on_chip_bytes.value:
            return 0.0
        return moved / (self.chip.memory_gb_s.value * 1e3)


def _pad(count: int, multiple: float) -> float:
    return -(-count // multiple) * multiple

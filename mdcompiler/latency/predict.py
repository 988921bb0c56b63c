"""Predicted latency of a detector on a chip, block by block, with what is uncertain about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdcompiler.errors import TargetError
from mdcompiler.latency.calibrate import Calibration, calibrate, uncalibrated
from mdcompiler.latency.chip import Chip, find_chip
from mdcompiler.latency.published import Column, published_columns
from mdcompiler.latency.roofline import Cost, Machine
from mdcompiler.spec import Spec, build_network
from mdcompiler.spec.network import PlacedBlock


@dataclass(frozen=True)
class BlockLatency:
    """One block: path `C4/b2.ibn`, text, operations started, microseconds, and of them those of starting."""

    path: str
    text: str
    macs: int
    operations: int
    latency_us: float
    launch_us: float


@dataclass(frozen=True)
class Prediction:
    """Latency of a network on one chip.

    total = the blocks' sum + fixed_us (transfers, post-processing) + stream_us (weights that do not fit on
    the chip). spread: standard deviation of the logarithm of the total that calibration and noise leave;
    the roofline's own error is on top. uncertain: sentences on what the figures rest on.
    """

    network: str
    chip: str
    precision: str
    column: str
    blocks: tuple[BlockLatency, ...]
    fixed_us: float
    stream_us: float
    spread: float
    uncertain: tuple[str, ...]

    @property
    def total_ms(self) -> float:
        """The whole network in milliseconds."""
        return (sum(block.latency_us for block in self.blocks) + self.fixed_us + self.stream_us) / 1e3

    @property
    def range_ms(self) -> tuple[float, float]:
        """One standard deviation below and above the total."""
        factor = float(np.exp(self.spread))
        return self.total_ms / factor, self.total_ms * factor

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        low, high = self.range_ms
        return {
            "network": self.network,
            "chip": self.chip,
            "precision": self.precision,
            "column": self.column,
            "total_ms": self.total_ms,
            "low_ms": low,
            "high_ms": high,
            "fixed_us": self.fixed_us,
            "stream_us": self.stream_us,
            "blocks": [vars(block) for block in self.blocks],
            "uncertain": list(self.uncertain),
        }


def predict(spec: Spec, chip: str | Chip, precision: str = "", column: str = "") -> Prediction:
    """Predict `spec` on a chip: a name, the path of a chip file, or a `Chip`.

    precision: "" is the first in the chip's file. column: published latencies to calibrate by; "" is the first
    of the chip in that precision. Raises TargetError for what is unknown or does not fit together.
    """
    calibration = find_calibration(find_chip(chip) if isinstance(chip, str) else chip, precision, column)
    machine = calibration.machine
    placed = build_network(spec).blocks
    costs = [machine.cost(block.steps) for block in placed]
    total = sum(costs, Cost())
    return Prediction(
        network=spec.name,
        chip=machine.chip.name,
        precision=machine.precision,
        column=calibration.column,
        blocks=tuple(_row(calibration, block, cost) for block, cost in zip(placed, costs, strict=True)),
        fixed_us=calibration.fixed_us,
        stream_us=calibration.stream_us(total.weight_bytes),
        spread=calibration.spread(total),
        uncertain=tuple(_uncertain(calibration, total)),
    )


def _row(calibration: Calibration, block: PlacedBlock, cost: Cost) -> BlockLatency:
    return BlockLatency(
        path=block.path,
        text=block.text,
        macs=block.macs,
        operations=cost.launches,
        latency_us=calibration.block_us(cost),
        launch_us=calibration.launch_us * cost.launches,
    )


def find_calibration(chip: Chip, precision: str = "", column: str = "") -> Calibration:
    """The calibration that `predict` uses. Raises TargetError."""
    chosen = precision or (_column(column).precision if column else chip.default_precision)
    chip.peaks(chosen)
    fitting = [item for item in published_columns().values() if _fits(item, chip, chosen)]
    if column:
        fitting = [item for item in fitting if item.name == column]
        if not fitting:
            wrong = _column(column)
            raise TargetError(
                f"predicting latency on {chip.name} in {chosen}: the latencies {column} are of {wrong.chip} in "
                f"{wrong.precision}. Choose those of this chip, or leave --column out."
            )
    return calibrate(fitting[0]) if fitting else uncalibrated(Machine(chip, chosen, chip.cores))


def _fits(column: Column, chip: Chip, precision: str) -> bool:
    return column.precision == precision and column.chip == chip.name and column.machine.chip == chip


def _column(name: str) -> Column:
    columns = published_columns()
    if name not in columns:
        raise TargetError(f"published latencies {name!r} are unknown; there are {', '.join(columns)}. Choose one.")
    return columns[name]


def _uncertain(calibration: Calibration, cost: Cost) -> Iterator[str]:
    chip = calibration.machine.chip
    if calibration.column:
        yield (
            f"{calibration.fit.parameters:.1f} effective parameters from {calibration.points} published latencies "
            f"({calibration.column}); the rest is assumed"
        )
    else:
        yield "no published latency of this chip in this precision: only its file and chips of its family"
    for kind, meaning in (("assumed", "not published"), ("recalled", "not looked up again")):
        names = [name for name, figure in chip.figures().items() if figure.kind == kind and _used(name, calibration)]
        if names:
            yield f"{meaning}: {', '.join(names)}"
    if calibration.machine.stream_us(cost.weight_bytes):
        yield "the weights do not fit on the chip; which of them stay there is the vendor's compiler's choice"
    yield "latency inside a block is shared out by the roofline: only whole networks were ever measured"


def _used(figure: str, calibration: Calibration) -> bool:
    precision, dot, _ = figure.partition(".")
    return not dot or precision == calibration.machine.precision

"""Filling a table: predicted rows at once, measured ones one by one until a budget is spent, and others from these."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mdcompiler.errors import RecordsError
from mdcompiler.latency.calibrate import Calibration
from mdcompiler.latency.chip import element_bytes
from mdcompiler.latency.fit_blocks import BlockModel, fit_blocks
from mdcompiler.latency.table import Head, Row, Table, append_row, holds_nothing, read_table, write_table
from mdcompiler.latency.work import works_of
from mdcompiler.progress import Progress, silent
from mdcompiler.spec.network import PlacedBlock
from mdcompiler.spec.steps import Conv
from mdcompiler.target import Target

Blocks = Mapping[str, PlacedBlock]
Measure = Callable[[PlacedBlock], float]


@dataclass(frozen=True)
class Budget:
    """blocks: how many are measured at most in this run; seconds: when no further one is begun."""

    blocks: int
    seconds: float


def table_head(target: str, calibration: Calibration | None, host: str = "", precision: str = "fp32") -> Head:
    """The head of a table for a target; of measurements on `host` in `precision` where there is no calibration."""
    if calibration is None:
        return Head(target=target, precision=precision, host=host)
    chip = calibration.machine.chip
    link = chip.link_gb_s
    return Head(
        target=target,
        chip=chip.name,
        precision=calibration.machine.precision,
        column=calibration.column,
        network_us=calibration.fixed_us,
        resident_bytes=int(chip.on_chip_bytes.value) if link else 0,
        us_per_byte=calibration.link / (link.value * 1e3) if link else 0.0,
    )


def fill_predicted(blocks: Blocks, head: Head, calibration: Calibration | None, path: Path) -> Table:
    """The table at `path` with a row for every block that lacked one; made anew where there is no file.

    Without a calibration nothing is added, and a table without rows is not written.
    Raises RecordsError when the file there is a table of something else.
    """
    table = Table(head) if holds_nothing(path) else read_table(path)
    if table.head != head:
        raise RecordsError(
            f"adding to the table {path}: it is of {_spell(table.head)}, not of {_spell(head)}. "
            "Give the path of a new file, or the options that made this one."
        )
    if calibration is not None:
        for key, block in blocks.items():
            if key not in table.rows:
                latency = calibration.block_us(calibration.machine.cost(block.steps))
                table.rows[key] = _row(key, block, head.precision, latency, measured=False)
    if table.rows:
        write_table(table, path)
    return table


def fill_measured(
    blocks: Blocks, table: Table, measure: Measure, budget: Budget, path: Path, progress: Progress = silent
) -> int:
    """Measure blocks that are not yet and append their rows to the file; how many were measured.

    Those that fit the budget stand evenly over the space, so that the others can be predicted from them.
    """
    waiting = [key for key in blocks if key not in table.rows or table.rows[key].how == "predicted"]
    chosen, began = _spread(waiting, budget.blocks), time.monotonic()
    for done, key in enumerate(chosen):
        if time.monotonic() - began > budget.seconds:
            return done
        progress(f"measure {blocks[key].text}", done, len(chosen))
        row = _row(key, blocks[key], table.head.precision, measure(blocks[key]), measured=True)
        if holds_nothing(path):
            write_table(Table(table.head), path)
        append_row(row, path)
        table.rows[key] = row
    return len(chosen)


def fill_fitted(blocks: Blocks, table: Table, target: Target, path: Path) -> BlockModel | None:
    """Predict every block without a measurement by a model that is fitted to those with one, and write the table.

    None, and nothing is done, while too few are measured.
    """
    measured = {key: row.latency_us for key, row in table.rows.items() if row.how == "measured"}
    model = fit_blocks(blocks, measured, target, table.head.precision)
    if model is None:
        return None
    for key, block in blocks.items():
        if key not in measured:
            table.rows[key] = _row(key, block, table.head.precision, model.latency_us(block), measured=False)
    write_table(table, path)
    return model


def _spread(keys: list[str], count: int) -> list[str]:
    """`count` of `keys`, evenly over them; all where there are no more."""
    return [keys[place * len(keys) // count] for place in range(count)] if count < len(keys) else keys


def _row(key: str, block: PlacedBlock, precision: str, latency_us: float, measured: bool) -> Row:
    source = block.steps[0].source
    convolutions = [step for step in block.steps if isinstance(step, Conv)]
    weights = sum(work.weights for step in block.steps for work in works_of(step))
    return Row(
        key=key,
        kind=block.kind,
        text=block.text,
        kernel=max(step.kernel for step in convolutions),
        stride=max(step.stride for step in convolutions),
        source=source.channels,
        inner=tuple(step.channels for step in convolutions[:-1]),
        out=block.output.channels,
        height=source.size[0],
        width=source.size[1],
        macs=block.macs,
        weight_bytes=weights * element_bytes(precision),
        latency_us=latency_us,
        how="measured" if measured else "predicted",
    )


def _spell(head: Head) -> str:
    machines = (f"{word} {name}" for word, name in (("target", head.target), ("chip", head.chip)) if name)
    return ", ".join(part for part in (*machines, head.precision, head.column, head.host) if part)

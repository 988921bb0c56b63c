"""The verb lut: the table of block latencies that an architecture search adds up."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mdcompiler.cli.console import note, shown_progress
from mdcompiler.cli.latency_command import ChipOption, ColumnOption, PrecisionOption
from mdcompiler.errors import TargetError

if TYPE_CHECKING:
    from mdcompiler.latency.calibrate import Calibration
    from mdcompiler.latency.fill_table import Blocks
    from mdcompiler.latency.table import Table
    from mdcompiler.target import Target


def lut(
    space: Annotated[
        str, typer.Argument(help="Search space (`mobiledet`, `small`), or a network of the zoo or a file.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The table, JSON lines; one that is there is gone on with.")],
    target: Annotated[str, typer.Option("--target", "-t", help="Name from `mdc targets`, or a target file.")] = "",
    chip: ChipOption = "",
    precision: PrecisionOption = "",
    column: ColumnOption = "",
    measure: Annotated[int, typer.Option(min=0, help="Blocks to compile and time on this machine, in fp32.")] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no measurement after this time; 0: no limit.")] = 0,
    runs: Annotated[int, typer.Option(min=1, max=100_000, help="Timed runs of every block.")] = 30,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Processor threads of one call.")] = 1,
) -> None:
    """Write the latency of every block of a search space: predicted, or measured where the target runs here."""
    from mdcompiler.latency.fill_table import fill_predicted, table_head
    from mdcompiler.latency.measure_block import describe_host
    from mdcompiler.target import find_target

    machine = find_target(target) if target else None
    calibration = _calibration(machine, chip, precision, column)
    if measure:
        _check_measurable(machine, calibration)
    elif calibration is None:
        raise TargetError(
            f"making a latency table: no chip file is of target {target!r}, so nothing can be predicted. "
            "Give --chip, or --measure to time blocks on this machine."
        )
    blocks = _blocks(space)
    host = "" if calibration else describe_host(threads)
    table = fill_predicted(blocks, table_head(machine.name if machine else "", calibration, host), calibration, out)
    if measure and machine is not None:
        _measure(blocks, table, out, _Timing(machine, measure, minutes, runs, threads))
    measured = sum(row.how == "measured" for row in table.rows.values())
    missing = len(blocks.keys() - table.rows.keys())
    note(f"mdc: wrote {out}: {len(table.rows):,} blocks, {measured:,} of them measured, {missing:,} still missing")


class _Timing(NamedTuple):
    target: Target
    blocks: int
    minutes: float
    runs: int
    threads: int


def _measure(blocks: Blocks, table: Table, out: Path, timing: _Timing) -> None:
    from mdcompiler.latency.fill_table import Budget, fill_measured
    from mdcompiler.latency.measure_block import measure_block

    budget = Budget(timing.blocks, timing.minutes * 60 if timing.minutes else math.inf)
    with shown_progress() as progress:
        fill_measured(
            blocks,
            table,
            lambda block: measure_block(block, timing.target, timing.runs, timing.threads),
            budget,
            out,
            progress,
        )


def _calibration(target: Target | None, chip: str, precision: str, column: str) -> Calibration | None:
    from mdcompiler.latency.chip import chip_of_target, find_chip
    from mdcompiler.latency.predict import find_calibration

    if chip:
        return find_calibration(find_chip(chip), precision, column)
    if target is None:
        raise TargetError("making a latency table: give --chip (`mdc latency --chips`) or --target (`mdc targets`).")
    found = chip_of_target(target.name)
    return find_calibration(found, precision, column) if found else None


def _check_measurable(target: Target | None, calibration: Calibration | None) -> None:
    """Measured rows are of this machine in fp32, so they do not go into a table of predictions."""
    from mdcompiler.latency.measure_block import check_runs_here

    if target is None:
        raise TargetError("making a latency table: --measure compiles for a target. Give --target.")
    if calibration is not None:
        machine = calibration.machine
        raise TargetError(
            f"making a latency table: blocks are measured in fp32 on {target.name}, the table predicts "
            f"{machine.precision} on {machine.chip.name}. Leave --measure out, or leave --chip out and make a table "
            "of measurements alone."
        )
    check_runs_here(target)


def _blocks(name: str) -> Blocks:
    from mdcompiler.latency.space_blocks import space_blocks, spec_blocks
    from mdcompiler.spec import SearchSpace, load_spec

    spaces = {"mobiledet": SearchSpace.mobiledet, "small": SearchSpace.small}
    return space_blocks(spaces[name]()) if name in spaces else spec_blocks(load_spec(name))

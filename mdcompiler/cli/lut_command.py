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
    from mdcompiler.latency.fit_blocks import BlockModel
    from mdcompiler.latency.table import Table
    from mdcompiler.target import Target

_MEASURED = ("fp32", "int8")


def lut(
    space: Annotated[
        str,
        typer.Argument(help="Search space: mobiledet, small, or a file of block choices; or a network, also a file."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The table, JSON lines; one that is there is gone on with.")],
    target: Annotated[str, typer.Option("--target", "-t", help="Name from `mdc targets`, or a target file.")] = "",
    chip: ChipOption = "",
    precision: PrecisionOption = "",
    column: ColumnOption = "",
    measure: Annotated[
        int, typer.Option(min=0, help="Blocks to compile and time on this machine; the others are predicted by these.")
    ] = 0,
    minutes: Annotated[float, typer.Option(min=0, help="Begin no measurement after this time; 0: no limit.")] = 0,
    runs: Annotated[int, typer.Option(min=1, max=100_000, help="Timed runs of every block.")] = 30,
    threads: Annotated[int, typer.Option(min=1, max=1024, help="Processor threads of one call.")] = 1,
) -> None:
    """Write the latency of every block of a search space: measured where the target runs here, else predicted."""
    from mdcompiler.target import find_target

    machine = find_target(target) if target else None
    calibration = _calibration(machine, chip, precision, column)
    if measure:
        timing = _timing(machine, calibration, precision, _Budget(measure, minutes, runs, threads))
        _write_measured(_blocks(space), timing, out)
    elif calibration is None:
        raise TargetError(
            f"making a latency table: no chip file is of target {target!r}, so nothing can be predicted. "
            "Give --chip, or --measure to time blocks on this machine."
        )
    else:
        _write_predicted(_blocks(space), machine, calibration, out)


class _Budget(NamedTuple):
    blocks: int
    minutes: float
    runs: int
    threads: int


class _Timing(NamedTuple):
    target: Target
    precision: str
    budget: _Budget


def _write_predicted(blocks: Blocks, machine: Target | None, calibration: Calibration, out: Path) -> None:
    from mdcompiler.latency.fill_table import fill_predicted, table_head

    table = fill_predicted(blocks, table_head(machine.name if machine else "", calibration), calibration, out)
    note(f"mdc: wrote {out}: {len(table.rows):,} blocks, all predicted")


def _write_measured(blocks: Blocks, timing: _Timing, out: Path) -> None:
    from mdcompiler.latency.fill_table import Budget, fill_fitted, fill_measured, fill_predicted, table_head
    from mdcompiler.latency.measure_block import describe_host, measure_block

    target, precision, (most, minutes, runs, threads) = timing
    table = fill_predicted(blocks, table_head(target.name, None, describe_host(threads), precision), None, out)
    with shown_progress() as progress:
        fill_measured(
            blocks,
            table,
            lambda block: measure_block(block, target, runs, threads, precision),
            Budget(most, minutes * 60 if minutes else math.inf),
            out,
            progress,
        )
    note(f"mdc: wrote {out}: {_told(blocks, table, fill_fitted(blocks, table, target, out))}")


def _told(blocks: Blocks, table: Table, model: BlockModel | None) -> str:
    """How many rows there are, and what they rest on."""
    from mdcompiler.latency.fit_blocks import FEWEST

    measured = sum(row.how == "measured" for row in table.rows.values())
    others = len(blocks.keys() - {key for key, row in table.rows.items() if row.how == "measured"})
    told = f"{len(table.rows):,} blocks, {measured:,} of them measured"
    if not others:
        return told
    if model is None:
        return f"{told}, {others:,} missing: with {FEWEST} measured ones they can be predicted (--measure)"
    return (
        f"{told}, {others:,} predicted from those, which it is {model.error:.0%} off of in the mean, each held out once"
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


def _timing(target: Target | None, calibration: Calibration | None, precision: str, budget: _Budget) -> _Timing:
    """What is measured. Measured rows are of this machine, so they do not go into a table of another's predictions."""
    from mdcompiler.latency.measure_block import check_runs_here

    if target is None:
        raise TargetError("making a latency table: --measure compiles for a target. Give --target.")
    if calibration is not None:
        machine = calibration.machine
        raise TargetError(
            f"making a latency table: blocks would be measured on this machine, the table predicts {machine.precision} "
            f"on {machine.chip.name}. Leave --measure out, or leave --chip out and give a target that runs here."
        )
    chosen = precision or ("fp32" if "float32" in target.dtypes else "int8")
    if chosen not in _MEASURED or (chosen == "fp32" and "float32" not in target.dtypes):
        raise TargetError(
            f"making a latency table: blocks are measured in {' or '.join(_MEASURED)}, and {target.name} computes in "
            f"{', '.join(target.dtypes)}; --precision is {chosen}. Choose one that the target has."
        )
    check_runs_here(target)
    return _Timing(target, chosen, budget)


def _blocks(name: str) -> Blocks:
    from mdcompiler.latency.space_blocks import space_blocks, spec_blocks
    from mdcompiler.spec import SearchSpace, load_spec
    from mdcompiler.spec.search_file import is_space_file, load_space

    spaces = {"mobiledet": SearchSpace.mobiledet, "small": SearchSpace.small}
    if name in spaces:
        return space_blocks(spaces[name]())
    return space_blocks(load_space(name)) if is_space_file(name) else spec_blocks(load_spec(name))

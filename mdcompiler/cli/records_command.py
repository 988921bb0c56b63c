"""The verbs records list, merge, prune and export: what was measured, in files that can be shared."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdcompiler.cli.console import note, print_json, print_table
from mdcompiler.cli.options import JsonOption
from mdcompiler.errors import RecordsError

if TYPE_CHECKING:
    from mdcompiler.tuning.record import Record

app = typer.Typer(no_args_is_help=True, help="List, merge, prune and export tuning records.")

FilesArgument = Annotated[
    list[Path] | None, typer.Argument(metavar="FILE...", help="Default: the user's file, MDC_RECORDS or the cache.")
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="File to write.")]
TargetFilter = Annotated[str, typer.Option("--target", "-t", help="Only what serves this target.")]


@app.command("list")
def list_records(
    files: FilesArgument = None,
    shipped: Annotated[bool, typer.Option("--shipped", help="Those that come with the toolkit as well.")] = False,
    target: TargetFilter = "",
    json: JsonOption = False,
) -> None:
    """Show what was measured, the slowest workloads first."""
    found = serving(read(files, needed=not shipped) + (_shipped() if shipped else []), target)
    found.sort(key=lambda record: -record.min_ns)
    if json:
        print_json([record.model_dump(mode="json", exclude={"measured"}) for record in found])
        return
    columns = ("template", "workload", "target", "schedule", "min", "median", "unit", "trials", "when")
    print_table("", columns, [_row(record) for record in found])


@app.command()
def merge(files: Annotated[list[Path], typer.Argument(metavar="FILE...")], out: OutOption) -> None:
    """Join files to one, the best record of each workload and machine; of equals that of the later file."""
    from mdcompiler.tuning.record_file import good_records, write_records
    from mdcompiler.tuning.records import Records

    found = Records(*(good_records(file) for file in files)).best()
    write_records(out, found)
    note(f"mdc: {len(found)} records of {len(files)} files in {out}")


@app.command()
def prune(files: FilesArgument = None) -> None:
    """Rewrite files without bad lines, superseded records, and those of other versions of templates and tools."""
    from mdcompiler.tuning.record_file import read_records, write_records
    from mdcompiler.tuning.records import Records

    for file in files or _own(needed=True):
        records, faults = read_records(file)
        for fault in faults:
            note(f"mdc: left out {fault}")
        if faults and not records:
            raise RecordsError(f"pruning {file}: none of its lines is a record, so it stays. Give a file of records.")
        kept = Records(current(records)).best()
        write_records(file, kept)
        note(f"mdc: {file}: kept {len(kept)} of {len(records)} records")


@app.command()
def export(
    out: OutOption,
    target: TargetFilter = "",
    files: FilesArgument = None,
    slim: Annotated[bool, typer.Option(help="Only the best schedules, without what else was tried.")] = False,
) -> None:
    """Write the best records that serve a target to a new file, sorted, ready to be shared."""
    from mdcompiler.tuning.record_file import write_records
    from mdcompiler.tuning.records import Records

    found = sorted(Records(serving(current(read(files)), target)).best(), key=lambda record: record.key)
    write_records(out, [record.model_copy(update={"measured": ()}) if slim else record for record in found])
    note(f"mdc: {len(found)} records in {out}")


def read(files: list[Path] | None, needed: bool = True) -> list[Record]:
    """The records of files, or of the user's. Raises RecordsError naming bad lines."""
    from mdcompiler.tuning.record_file import good_records

    return [record for file in files or _own(needed) for record in good_records(file)]


def serving(records: Iterable[Record], target: str) -> list[Record]:
    """Those that a compilation for `target` may use; all for no target."""
    from mdcompiler.target import find_target
    from mdcompiler.tuning.machine import Machine, fitness

    if not target:
        return list(records)
    machine = Machine.of(find_target(target))
    return [record for record in records if fitness(record.machine, machine) is not None]


def current(records: Iterable[Record]) -> list[Record]:
    """Those whose template and tools have the versions that are installed."""
    from mdcompiler.registry import backends
    from mdcompiler.tuning.tunable import Tunable

    tuners = [backend.tuner() for backend in backends().values() if isinstance(backend, Tunable)]
    known = [(tuner.versions, dict(tuner.tools)) for tuner in tuners]
    return [
        record
        for record in records
        if any(versions.get(record.template) == record.version and tools == record.tools for versions, tools in known)
    ]


def _own(needed: bool) -> list[Path]:
    from mdcompiler.foreign import exists
    from mdcompiler.tuning.records import user_file

    file = user_file()
    if file is not None and exists(file):
        return [file]
    if needed:
        raise RecordsError(
            f"reading records: there is no file {file or '(MDC_RECORDS is off)'} yet. `mdc tune` makes one."
        )
    return []


def _shipped() -> list[Record]:
    from mdcompiler.registry import backends
    from mdcompiler.tuning.record_file import good_records
    from mdcompiler.tuning.tunable import Tunable

    tuners = [backend.tuner() for backend in backends().values() if isinstance(backend, Tunable)]
    files = dict.fromkeys(file for tuner in tuners for file in tuner.shipped)
    return [record for file in files for record in good_records(file)]


def _row(record: Record) -> tuple[str | float | int, ...]:
    llvm = record.machine.llvm
    schedule = " ".join(f"{name}={value}" for name, value in record.schedule.items())
    unit, parts = ("us", 1e3) if record.unit == "ns" else (record.unit, 1)
    times = (record.min_ns / parts, record.median_ns / parts, unit)
    machine = str(llvm.get("mcpu") or llvm.get("mtriple", ""))
    return record.template, _describe(record), machine, schedule, *times, record.trials, record.when


def _describe(record: Record) -> str:
    """The numbers of a workload in few words."""
    geometry = record.workload.get("geometry")
    words = [f"{name}={value}" for name, value in record.workload.items() if isinstance(value, int | str)]
    if isinstance(geometry, dict):
        words += [f"{name}={'x'.join(map(str, value))}" for name, value in geometry.items() if isinstance(value, list)]
    return " ".join(words)

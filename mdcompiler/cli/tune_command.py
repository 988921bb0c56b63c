"""The verb tune: measure the schedules of a network's kernels and keep the best as records."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdcompiler.cli.console import note, print_json, print_table, shown_progress
from mdcompiler.cli.options import (
    JsonOption,
    NetworkArgument,
    SeedOption,
    SizeOption,
    TargetOption,
    WidthOption,
    parse_size,
)
from mdcompiler.errors import TuningError
from mdcompiler.foreign import shortened

if TYPE_CHECKING:
    from mdcompiler.module import Module
    from mdcompiler.progress import Progress
    from mdcompiler.read_network import Request
    from mdcompiler.target import Target
    from mdcompiler.tuning.block_table import BlockRow
    from mdcompiler.tuning.record import Record
    from mdcompiler.tuning.session import Budget, Outcome
    from mdcompiler.tuning.tunable import Device, Tuner

_MOST_FAILURES = 3


def tune(
    network: NetworkArgument,
    target: TargetOption = "cpu",
    trials: Annotated[int, typer.Option(min=1, max=500, help="Candidates of every kernel.")] = 12,
    minutes: Annotated[float, typer.Option(min=0, help="Stop after this time; 0: when all is done.")] = 0,
    precision: Annotated[
        str, typer.Option(help="Numeric type of the network: fp32 or int8. Default: fp32 where the target has it.")
    ] = "",
    records: Annotated[Path | None, typer.Option(help="File to add to. Default: MDC_RECORDS, or the cache.")] = None,
    rpc: Annotated[str, typer.Option(metavar="HOST:PORT", help="Measure on a device of this TVM RPC tracker.")] = "",
    key: Annotated[str, typer.Option(help="The device's key at the tracker.")] = "",
    blocks: Annotated[bool, typer.Option(help="Also measure choices that span kernels, on this machine.")] = True,
    seed: SeedOption = 0,
    width: WidthOption = None,
    size: SizeOption = None,
    json: JsonOption = False,
) -> None:
    """Find the fastest schedules for a network's kernels; run again to go on where it was stopped."""
    from mdcompiler.kernel import kernels
    from mdcompiler.read_network import Request
    from mdcompiler.target import find_target
    from mdcompiler.tuning.block_table import block_rows
    from mdcompiler.tuning.session import Budget
    from mdcompiler.tuning.tunable import unit_of

    machine = find_target(target)
    device = parse_device(rpc, key)
    tuner = _tuner(machine, device)
    request = Request(network, None, seed, False, width, *parse_size(size))
    file = _file(records)
    with shown_progress() as progress:
        module = _placed(request, machine, precision or _precision_of(machine), progress)
        seconds = minutes * 60 if minutes else math.inf
        outcomes = _run(tuner, module, device, Budget(trials, seconds), _name(network), file, progress)
    spans = _blocks(tuner, module, _name(network), file) if blocks and device is None else {}
    rows = block_rows(outcomes, [kernel.name for kernel in kernels(module.graph)], unit_of(tuner, machine, device))
    if json:
        chosen = {name: dict(record.schedule) for name, record in spans.items()}
        print_json({"blocks": [row.as_dict() for row in rows], "spans": chosen, "records": str(file)})
    else:
        _print(network, rows)
        _print_spans(network, spans)
    _tell(outcomes, file)


def parse_device(rpc: str, key: str) -> Device | None:
    """`host:port` and a key as a device; None when neither is given. Raises TuningError."""
    from mdcompiler.tuning.tunable import Device

    if not rpc and not key:
        return None
    host, _, port = rpc.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535 or not key:
        raise TuningError(f"tuning with --rpc {rpc!r} --key {key!r}: give both, as --rpc 127.0.0.1:9190 --key pixel6.")
    return Device(host, int(port), key)


def _name(network: str) -> str:
    """What records call a network: its file's name, of which not every byte need be text."""
    return shortened(Path(network).stem, 200)


def _tuner(target: Target, device: Device | None) -> Tuner:
    from mdcompiler.backend import why_not_run
    from mdcompiler.registry import backend as find_backend
    from mdcompiler.tuning.tunable import Tunable

    backend = find_backend(target.backend)
    if not isinstance(backend, Tunable):
        raise TuningError(f"tuning for {target.name}: the backend {backend.name} has nothing to tune.")
    reason = "" if device else why_not_run(backend, target)
    if reason:
        raise TuningError(f"tuning for {target.name}: {reason} Or measure on a device: --rpc HOST:PORT --key KEY.")
    return backend.tuner()


def _precision_of(target: Target) -> str:
    return "fp32" if "float32" in target.dtypes else "int8"


def _placed(request: Request, target: Target, precision: str, progress: Progress) -> Module:
    """The network as it is just before code is written."""
    from mdcompiler.calibration.noise import quantize_by_noise
    from mdcompiler.compile_pass import STAGES
    from mdcompiler.compiler import PRECISIONS, Job
    from mdcompiler.pipeline import Pipeline
    from mdcompiler.read_network import read_network

    if precision not in PRECISIONS:
        raise TuningError(
            f"tuning with precision {precision!r}: there is {', '.join(PRECISIONS)}. Choose one of these."
        )
    job = Job(request, target, progress=progress)
    module, pipeline = read_network(request, target), Pipeline(progress)
    for stage in STAGES:
        if stage == "quantize" and precision == "int8":
            quantize_by_noise(module, pipeline)
        pipeline.run(module, job.passes(stage))
    return module


def _file(records: Path | None) -> Path:
    from mdcompiler.tuning.records import user_file

    file = records or user_file()
    if file is None:
        raise TuningError("tuning: MDC_RECORDS or MDC_CACHE is `off`, so there is no file of records. Give --records.")
    return file


def _run(
    tuner: Tuner, module: Module, device: Device | None, budget: Budget, name: str, file: Path, progress: Progress
) -> list[Outcome]:
    from mdcompiler.foreign import exists
    from mdcompiler.tuning.machine import Machine
    from mdcompiler.tuning.record_file import good_records
    from mdcompiler.tuning.records import Records
    from mdcompiler.tuning.session import Purpose, Session
    from mdcompiler.tuning.tunable import unit_of

    known = Records(good_records(file) if exists(file) else ())
    jobs = tuner.jobs(module, budget.trials)
    purpose = Purpose(Machine.of(module.target), tuner.tools, name, unit_of(tuner, module.target, device))
    with tuner.bench(module.target, device) as bench:
        return Session(bench, purpose, file, progress).run(jobs, known, budget)


def _blocks(tuner: Tuner, module: Module, name: str, file: Path) -> dict[str, Record]:
    """Choices that span kernels, measured with the schedules just found, and added to the file."""
    from mdcompiler.tuning.record_file import append_record
    from mdcompiler.tuning.records import open_records

    with shown_progress() as progress:
        found = tuner.tune_blocks(module, name, open_records(tuner.shipped, file), progress)
    for record in found.values():
        append_record(file, record)
    return found


def _print_spans(network: str, spans: dict[str, Record]) -> None:
    """Choices that span kernels: the kernels one after the other, and the best."""
    if not spans:
        return
    cells = []
    for name, record in spans.items():
        apart = record.measured[0].min_ns or record.min_ns
        others = min((item.min_ns for item in record.measured[1:] if item.min_ns), default=record.min_ns)
        chosen = ", ".join(f"{field} {value}" for field, value in record.schedule.items())
        cells.append((name, apart / 1000, others / 1000, others / apart, chosen))
    print_table(
        f"{network}: fused, in the whole network", ("chain", "apart, us", "fused, us", "ratio", "chosen"), cells
    )


def _print(network: str, rows: list[BlockRow]) -> None:
    unit = rows[0].unit if rows else "us"
    columns = ("block", f"before, {unit}", f"after, {unit}", "ratio", "tuned now", "kernels")
    cells = [(row.block, row.before, row.after, _ratio(row), row.tuned, row.kernels) for row in rows]
    before, after = sum(row.before for row in rows), sum(row.after for row in rows)
    whole = ("all", before, after, after / before if before else 1.0, sum(row.tuned for row in rows))
    kernels = sum(row.kernels for row in rows)
    print_table(f"{network}: one call of each tunable kernel, alone on one core", columns, [*cells, (*whole, kernels)])


def _ratio(row: BlockRow) -> float:
    return row.after / row.before if row.before else 1.0


def _tell(outcomes: list[Outcome], file: Path) -> None:
    states = [outcome.state for outcome in outcomes]
    parts = [f"{states.count(state)} {state}" for state in ("tuned", "recorded", "left", "failed") if state in states]
    note(f"mdc: workloads: {', '.join(parts) or 'none'}; records in {file}")
    failures = [f"{outcome.job.key.template}: {text}" for outcome in outcomes for text in outcome.failures]
    for text in failures[:_MOST_FAILURES]:
        note(f"mdc: a candidate failed and was left out: {text}")
    if len(failures) > _MOST_FAILURES:
        note(f"mdc: {len(failures) - _MOST_FAILURES} more candidates failed")

"""The verb quantize: what integers would cost, block by block, and what each method gains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from mdcompiler.cli.console import note, print_json, shown_progress
from mdcompiler.cli.cost_of_integers import cost_lines, print_gains, print_sensitivity
from mdcompiler.cli.options import (
    JsonOption,
    NetworkArgument,
    SeedOption,
    SizeOption,
    TargetOption,
    WeightsOption,
    WidthOption,
    parse_size,
)
from mdcompiler.cli.quantize_options import (
    DEFAULT_BUDGET,
    AnnotationsOption,
    BudgetOption,
    KeepFloatOption,
    MaxLossOption,
    RangesOption,
    WideOption,
    WithoutOption,
    quantize_options,
)
from mdcompiler.errors import UnsupportedError


def quantize(
    network: NetworkArgument,
    calibration: Annotated[Path, typer.Option(help="Folder of pictures, or .npz with one member for each input.")],
    report: Annotated[bool, typer.Option("--report", help="Show what blocks cost and methods gain.")] = False,
    annotations: AnnotationsOption = None,
    max_loss: MaxLossOption = None,
    budget: BudgetOption = DEFAULT_BUDGET,
    keep_float: KeepFloatOption = None,
    wide: WideOption = None,
    without: WithoutOption = None,
    ranges: RangesOption = "mse",
    samples: Annotated[int, typer.Option(min=1, help="Samples for the ranges.")] = 128,
    compared: Annotated[int, typer.Option(min=1, help="Samples that the costs are measured on.")] = 8,
    target: TargetOption = "cpu",
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    width: WidthOption = None,
    size: SizeOption = None,
    json: JsonOption = False,
) -> None:
    """Measure what quantizing a network costs, as a whole and one block at a time; nothing is written."""
    from mdcompiler.read_network import Request

    if not report:
        raise UnsupportedError("quantizing: `mdc quantize` only reports so far. Add --report.")
    options = quantize_options(
        calibration,
        keep_float,
        wide,
        without,
        annotations=annotations,
        max_loss=max_loss,
        budget=budget,
        ranges=ranges,
        samples=samples,
        compared=compared,
        report=True,
        allow_degraded=True,
    )
    request = Request(network, weights, seed, False, width, *parse_size(size))
    raw = not request.is_onnx  # a file ends as it ends
    record = _record(replace(request, raw=raw), target, options)
    if json:
        print_json(_data(record))
        return
    print_sensitivity(network, record)
    print_gains(record)
    for line in cost_lines(record):
        note(f"mdc: {line}")


def _record(request: Any, target: str, options: Any) -> dict[str, Any]:
    """What quantizing by `options` measured."""
    import json

    from mdcompiler.compiler import Job
    from mdcompiler.target import find_target

    with shown_progress() as progress:
        job = Job(request, find_target(target), "int8", progress=progress, quantization=options)
        module = job.graph_after("quantize")
    record: dict[str, Any] = json.loads(module.metadata.get("mdc.accuracy", "{}"))
    if "sensitivity" not in record:
        raise UnsupportedError(
            f"quantizing {request.network}: the network has integers already, so there is nothing to measure. "
            "Give the float network that it was made from."
        )
    return record


def _data(record: dict[str, Any]) -> dict[str, Any]:
    apart = ("sensitivity", "gains", "degraded", "precision", "share_outside_int8")
    return {
        "network": {key: value for key, value in record.items() if key not in apart},
        "sensitivity": record["sensitivity"],
        "gains": record["gains"],
        "faults": record["degraded"],
        "precision": record["precision"],
        "share_outside_int8": record["share_outside_int8"],
    }

"""The verb quantize: what integers would cost, block by block."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdcompiler.cli.console import note, print_json, print_table, shown_progress
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
from mdcompiler.errors import UnsupportedError

if TYPE_CHECKING:
    from mdcompiler.accuracy import Accuracy, Fault, Sensitivity


def quantize(
    network: NetworkArgument,
    calibration: Annotated[Path, typer.Option(help="Folder of pictures, or .npz with one member for each input.")],
    report: Annotated[bool, typer.Option("--report", help="Show what every block costs.")] = False,
    method: Annotated[str, typer.Option(help="How ranges are found.")] = "mse",
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
    from mdcompiler.accuracy import compare, faults, sensitivities
    from mdcompiler.calibration import calibrate, open_samples
    from mdcompiler.compiler import Job
    from mdcompiler.passes.assign_precision import quantizer
    from mdcompiler.passes.insert_qdq import scheme_of
    from mdcompiler.passes.move_sigmoid import MoveSigmoid
    from mdcompiler.passes.quantize_calibrated import first
    from mdcompiler.read_network import Request
    from mdcompiler.target import find_target

    if not report:
        raise UnsupportedError("quantizing: `mdc quantize` only reports so far. Add --report.")
    request = Request(network, weights, seed, True, width, *parse_size(size))
    with shown_progress() as progress:
        module = Job(request, find_target(target), progress=progress).graph_after("fuse")
        MoveSigmoid().run(module)
        pictures = open_samples(calibration, module, samples)
        make = quantizer(calibrate(module, pictures, method, progress), scheme_of(module))
        few = first(pictures, compared)
        accuracy = compare(module, make(module, {}), few, progress)
        rows = sensitivities(module, make, few, progress)
    found = faults(accuracy)
    if json:
        print_json(_data(accuracy, rows, found))
        return
    _print(network, accuracy, rows, found)


def _data(accuracy: Accuracy, rows: list[Sensitivity], found: list[Fault]) -> dict[str, Any]:
    return {
        "network": accuracy.as_dict(),
        "sensitivity": [row.as_dict() for row in rows],
        "faults": [fault.as_dict() for fault in found],
    }


def _print(network: str, accuracy: Accuracy, rows: list[Sensitivity], found: list[Fault]) -> None:
    columns = ("block alone", "SNR of the outputs, dB", "detections lost", "anchors changed", "box shift, px")
    cells = [(row.block, row.snr_db, row.lost_share, row.changed_share, row.box_error_px) for row in rows]
    whole = ("all blocks", accuracy.worst_db, accuracy.lost_share, accuracy.changed_share, accuracy.box_error_px)
    print_table(f"{network}: cost of integers on {accuracy.samples} samples", columns, [whole, *cells])
    for fault in found:
        note(f"mdc: {fault}")

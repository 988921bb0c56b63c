"""The verb latency: what a network would take on an accelerator that is not here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mdcompiler.cli.console import Cell, note, print_json, print_table
from mdcompiler.cli.options import JsonOption, SizeOption, WidthOption, parse_size
from mdcompiler.errors import SpecError

if TYPE_CHECKING:
    from mdcompiler.latency.accuracy import ColumnError
    from mdcompiler.latency.predict import Prediction

ChipOption = Annotated[str, typer.Option("--chip", help="Name from `mdc latency --chips`, or a chip file (.yaml).")]
PrecisionOption = Annotated[str, typer.Option(help="fp32, fp16 or int8. Default: the first of the chip's file.")]
ColumnOption = Annotated[str, typer.Option(help="Published latencies to calibrate by. Default: the chip's first.")]


def latency(
    spec: Annotated[str, typer.Argument(help="Name from the zoo, or a spec file (.yaml, .json).")] = "",
    chip: ChipOption = "",
    precision: PrecisionOption = "",
    column: ColumnOption = "",
    width: WidthOption = None,
    size: SizeOption = None,
    chips: Annotated[bool, typer.Option("--chips", help="List the chips, and stop.")] = False,
    accuracy: Annotated[bool, typer.Option("--accuracy", help="Compare with published latencies, and stop.")] = False,
    json: JsonOption = False,
) -> None:
    """Predict a network's latency on an accelerator, block by block, from its published numbers."""
    if chips or accuracy:
        _list_chips(json) if chips else _compare(json)
        return
    if not spec or not chip:
        raise SpecError("predicting latency: give a network and a chip, `mdc latency mobiledet-cpu --chip NAME`.")
    from mdcompiler.latency.predict import predict
    from mdcompiler.read_network import Request, requested_spec

    loaded = requested_spec(Request(spec, None, 0, False, width, *parse_size(size)))
    prediction = predict(loaded, chip, precision, column)
    if json:
        print_json(prediction.as_dict())
        return
    _print(prediction)


def _print(prediction: Prediction) -> None:
    rows: list[tuple[Cell, ...]] = [
        (block.path, block.text, block.macs, block.operations, block.latency_us, block.latency_us - block.launch_us)
        for block in prediction.blocks
    ]
    rows.append(("beside the blocks", "transfers, post-processing", None, None, prediction.fixed_us, None))
    if prediction.stream_us:
        rows.append(("beside the blocks", "weights that do not fit", None, None, prediction.stream_us, None))
    columns = ("block", "what", "multiply-adds", "operations", "us", "without launches")
    print_table(f"{prediction.network} on {prediction.chip}, {prediction.precision}: predicted", columns, rows)
    low, high = prediction.range_ms
    print(f"{prediction.total_ms:.2f} ms in all, {low:.2f} to {high:.2f} by one standard deviation")
    for text in prediction.uncertain:
        note(f"mdc: {text}")


def _list_chips(json: bool) -> None:
    from mdcompiler.latency.chip import shipped_chips

    known = shipped_chips().values()
    if json:
        print_json([chip.model_dump(mode="json", exclude_none=True) for chip in known])
        return
    rows = [(chip.name, ", ".join(chip.precisions), ", ".join(chip.targets), chip.description) for chip in known]
    print_table("", ("chip", "precisions", "targets", "description"), rows)


def _compare(json: bool) -> None:
    from mdcompiler.latency.accuracy import accuracy

    found = accuracy()
    if json:
        print_json([column.as_dict() for column in found])
        return
    for column in found:
        _print_column(column)
    rows: list[tuple[Cell, ...]] = [
        (
            column.column,
            len(column.points),
            f"{column.parameters:.1f}",
            _percent(column.fitted_error),
            _percent(column.held_out_error),
            _percent(column.by_macs_error),
            _percent(column.by_mean_error),
            *(_pair(column.rank(predictor)) for predictor in ("held_out", "fitted", "macs")),
        )
        for column in found
    ]
    errors = ("fitted", "held out", "by MACs alone", "by the mean")
    ranks = ("rank: held out", "rank: fitted", "rank: MACs")
    print_table("mean error; rank is Spearman / Kendall", ("latencies", "points", "parameters", *errors, *ranks), rows)
    note("mdc: a point that is held out moves the others away from it, which turns ranks of two or three points around")


def _print_column(column: ColumnError) -> None:
    rows = [(point.network, point.published_ms, point.fitted_ms, point.held_out_ms) for point in column.points]
    title = f"{column.column} ({column.chip}, {column.precision}): {column.source}"
    print_table(title, ("network", "published ms", "fitted ms", "held out ms"), rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _pair(values: tuple[float | None, float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:.2f}" for value in values)

"""Options about quantizing that the verbs compile and quantize share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdcompiler.errors import UnsupportedError

if TYPE_CHECKING:
    from mdcompiler.quantization.options import Quantize

AnnotationsOption = Annotated[
    Path | None, typer.Option(help="COCO file about the calibration pictures: mean average precision is measured, too.")
]
MaxLossOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=100,
        help="Points of 100 that int8 may lose, of mAP with --annotations, else of the detections; "
        "blocks get 16-bit activations or stay float until that holds.",
    ),
]
BudgetOption = Annotated[
    float, typer.Option(min=0, max=1, help="With --max-loss: largest share of the multiply-adds outside of int8.")
]
KeepFloatOption = Annotated[
    list[str] | None, typer.Option(help="For int8: a block or kernel that stays float; may repeat.")
]
WideOption = Annotated[
    list[str] | None, typer.Option(help="For int8: a block or kernel with 16-bit activations; may repeat.")
]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="METHOD",
        help="For int8: a method that is left out: equalize-cross-layer, round-adaptively, correct-bias or "
        "refine-ranges; may repeat.",
    ),
]
RangesOption = Annotated[
    str,
    typer.Option("--ranges", help="For int8, how ranges are found: mse, min-max, moving-average, percentile, entropy."),
]
DEFAULT_BUDGET = 0.5


def quantize_options(
    calibration: Path | None,
    keep_float: Sequence[str] | None,
    wide: Sequence[str] | None,
    without: Sequence[str] | None,
    **others: Any,
) -> Quantize | None:
    """What was said about quantizing; None without calibration data. others: fields of `Quantize`.

    Raises UnsupportedError when options for int8 were given without calibration data.
    """
    from mdcompiler.quantization.options import Quantize

    said = {"keep_float": tuple(keep_float or ()), "wide": tuple(wide or ()), "without": tuple(without or ()), **others}
    if calibration is not None:
        return Quantize(calibration, **said)
    asked = [name for name in ("annotations", "max_loss", "keep_float", "wide", "without") if said[name]]
    if asked:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in asked)
        raise UnsupportedError(
            f"compiling with {flags} and without --calibration: these options are about int8. "
            "Add `--precision int8 --calibration DIR` (pictures, or an .npz file), or leave them out."
        )
    return None

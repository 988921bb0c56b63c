"""Arguments and options that several verbs share, so that one word means one thing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from mdcompiler.errors import SpecError

SpecArgument = Annotated[str, typer.Argument(help="Name from the zoo (`mdc zoo`), or a spec file (.yaml, .json).")]
NetworkArgument = Annotated[str, typer.Argument(help="Name from the zoo, a spec file, or an ONNX file.")]
DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIR", help="Directory that `mdc compile` wrote.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else, on stdout.")]
TargetOption = Annotated[str, typer.Option("--target", "-t", help="Name from `mdc targets`, or a target file (.yaml).")]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        help="Weights: .safetensors, .npz, .pth, a MobileDet .tflite or a TensorFlow checkpoint. Default: seeded."
    ),
]
SeedOption = Annotated[int, typer.Option(min=0, help="Seed of the weights when no file is given.")]
RawOption = Annotated[bool, typer.Option("--raw", help="End with box encodings and class scores, not detections.")]
WidthOption = Annotated[float | None, typer.Option(help="Multiplier of all channel counts.")]
SizeOption = Annotated[
    str | None, typer.Option(help="Size of the picture in pixels: 320, or 256x320 (height x width).")
]
ThreadsOption = Annotated[int, typer.Option(min=1, max=1024, help="Processor threads of one call.")]


class Size(NamedTuple):
    """Height and width in pixels; None leaves what the spec says."""

    height: int | None
    width: int | None


def parse_size(text: str | None) -> Size:
    """`320` or `256x320` as pixels. Raises SpecError for anything else."""
    if text is None:
        return Size(None, None)
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() and len(part) < 7 for part in parts):
        raise SpecError(f"--size {text!r}: give the pixels as 320 or as height x width, 256x320.")
    return Size(int(parts[0]), int(parts[-1]))

"""Verbs about artifacts: run, detect, bench, verify."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdcompiler.cli.console import note, print_json, print_table
from mdcompiler.cli.options import DirectoryArgument, JsonOption, ThreadsOption
from mdcompiler.errors import InternalError

if TYPE_CHECKING:
    from mdcompiler.detections import Detection

_FEW = 3


def run(
    directory: DirectoryArgument,
    inputs: Annotated[Path, typer.Option("--input", "-i", help="Arrays: .npy for one input, .npz for several.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npz file of the outputs.")],
    threads: ThreadsOption = 1,
) -> None:
    """Run an artifact on arrays."""
    from mdcompiler.array_files import read_arrays, write_arrays
    from mdcompiler.detector import load

    with load(directory, threads) as detector:
        outputs = detector.run(read_arrays(inputs, detector.artifact.manifest.inputs))
    write_arrays(out, outputs, [inputs])
    note(f"mdc: wrote {out}: {', '.join(outputs)}")


def detect(
    directory: DirectoryArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures to look at.")],
    json: JsonOption = False,
    draw: Annotated[Path | None, typer.Option(metavar="OUTDIR", help="Write pictures with boxes there.")] = None,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Lowest score that is listed and drawn.")] = 0.3,
    threads: ThreadsOption = 1,
) -> None:
    """Find objects in pictures. JSON holds every detection, lists and drawings those with --min-score."""
    from mdcompiler.detector import load
    from mdcompiler.images import read_picture

    found: list[dict[str, Any]] = []
    names: set[str] = set()
    with load(directory, threads) as detector:
        for image in images:
            picture = read_picture(image)
            detections = detector.detect(picture)
            found.append({"image": str(image), "detections": [item.as_dict() for item in detections]})
            if draw is not None:
                _draw(draw, image, images, names, picture, _worth_showing(image, detections, min_score))
            elif not json:
                _list(image, _worth_showing(image, detections, min_score))
    if json:
        print_json(found)


def bench(
    directory: DirectoryArgument,
    json: JsonOption = False,
    threads: ThreadsOption = 1,
    runs: Annotated[int, typer.Option(min=1, max=1_000_000, help="Timed runs, after a tenth of them untimed.")] = 50,
) -> None:
    """Measure an artifact on this machine."""
    from mdcompiler.benchmark import measure
    from mdcompiler.detector import load

    with load(directory, threads) as detector:
        result = measure(detector, threads, runs)
    if json:
        print_json(result.as_dict())
        return
    print_table("", ("measure", "value"), [(name, value) for name, value in result.facts().items()])
    if result.blocks:
        rows = [(row.block, row.milliseconds, 100 * row.share) for row in result.blocks]
        print_table("profile, one run with the clock read around every kernel", ("block", "ms", "% of all"), rows)


def verify(directory: DirectoryArgument) -> None:
    """Compare every file of an artifact with its hash, then run its check."""
    from mdcompiler.artifact import verified_artifact
    from mdcompiler.backend import why_not_run
    from mdcompiler.registry import running_backend
    from mdcompiler.self_check import read_check

    artifact = verified_artifact(directory)
    count = len(artifact.manifest.files)
    if artifact.manifest.check:
        print(f"{directory}: {count} files are as the manifest says; no check to run: {artifact.manifest.check}")
        return
    check = read_check(artifact)
    reason = why_not_run(running_backend(artifact.manifest.target.backend), artifact.manifest.target)
    if reason:
        print(f"{directory}: {count} files are as the manifest says; their check cannot be run here: {reason}")
        return
    with artifact.load() as detector:
        faults = check.faults(detector.run_with_head)
    if faults:
        raise InternalError(f"{directory} does not reproduce its reference: {'; '.join(faults)}")
    print(f"{directory}: {count} files are as the manifest says, and the outputs are the reference's")


def _worth_showing(image: Path, detections: Sequence[Detection], min_score: float) -> list[Detection]:
    """Those with the score; the best few when none has it, so that an untrained network shows something too."""
    shown = [item for item in detections if item.score >= min_score]
    if not shown and detections:
        note(f"mdc: {image}: nothing scores {min_score:g} or more; the best {_FEW} are shown")
        return list(detections[:_FEW])
    return shown


def _list(image: Path, detections: Sequence[Detection]) -> None:
    rows = [(item.class_name, item.score, " ".join(f"{edge:.3f}" for edge in item.box)) for item in detections]
    print_table(str(image), ("class", "score", "box (ymin xmin ymax xmax)"), rows)


def _draw(
    folder: Path, image: Path, images: list[Path], names: set[str], picture: Any, detections: Sequence[Detection]
) -> None:
    """Into a file called as `image`, never into one of `images`."""
    from PIL import Image

    from mdcompiler.drawing import draw_detections
    from mdcompiler.names import unique
    from mdcompiler.write_aside import write_file

    name = unique(image.stem, names)
    names.add(name)
    data = io.BytesIO()
    Image.fromarray(draw_detections(picture, detections)).save(data, "PNG")
    write_file(folder / f"{name}.png", data.getvalue(), images)
    note(f"mdc: wrote {folder / f'{name}.png'}: {len(detections)} boxes")

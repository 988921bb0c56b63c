"""The verb matrix: networks by targets, compiled, compared with the reference and reported in one place."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mdcompiler.cli.console import note
from mdcompiler.cli.options import JsonOption, RawOption, SeedOption, SizeOption, WeightsOption, WidthOption, parse_size


def matrix(
    networks: Annotated[list[str], typer.Argument(metavar="NETWORK...", help="Names from the zoo, specs, ONNX files.")],
    targets: Annotated[
        str,
        typer.Option(help="From `mdc targets`, or files, with commas between; cpu:int8 has a precision of its own."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of reports and artifacts; may be gone on with.")],
    precision: Annotated[str, typer.Option(help="fp32, int8, or auto: fp32 where the target has floats.")] = "auto",
    calibration: Annotated[
        Path | None, typer.Option(help="For int8: a folder of pictures, or .npz. Default: a few inputs of noise.")
    ] = None,
    allow_degraded: Annotated[bool, typer.Option(help="Compile int8 networks that lost too much, too.")] = False,
    blocks: Annotated[bool, typer.Option(help="Compare the tensors between blocks, too: a second build.")] = True,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print how each pair was verified as Markdown.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="Put that Markdown into a file, between its lines <!-- mdc matrix -->.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="Processes that compile at once; 0: all cores.")] = 0,
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    raw: RawOption = False,
    width: WidthOption = None,
    size: SizeOption = None,
    json: JsonOption = False,
) -> None:
    """Compile networks for many targets, run what can run here, and report on all of them together."""
    from mdcompiler.matrix import MatrixOptions, run_matrix, write_reports
    from mdcompiler.matrix.markdown import as_markdown, check_place, put_into
    from mdcompiler.matrix.text import as_text
    from mdcompiler.processes import compile_processes

    height_px, width_px = parse_size(size)
    names = tuple(dict.fromkeys(name.strip() for name in targets.split(",") if name.strip()))
    options = MatrixOptions(
        networks=tuple(networks),
        targets=names,
        precision=precision,
        calibration=calibration,
        weights=weights,
        seed=seed,
        raw=raw,
        width=width,
        height_px=height_px,
        width_px=width_px,
        blocks=blocks,
        allow_degraded=allow_degraded,
        threads=threads or compile_processes(),
    )
    if into is not None:
        check_place(into)
    found = run_matrix(options, out, lambda text: note(f"mdc: {text}"))
    write_reports(found, out)
    if into is not None:
        put_into(into, as_markdown(found))
    if json:
        print(found.model_dump_json(indent=2))
    else:
        print(as_markdown(found) if markdown else as_text(found, blocks=False), end="")
    note(f"mdc: wrote {out / 'matrix.html'}, matrix.json and matrix.txt, which has the blocks, too")

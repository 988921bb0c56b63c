"""Verbs about specs: zoo, show, lower, schema."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mdcompiler.cli.console import note, print_json, print_table
from mdcompiler.cli.options import (
    JsonOption,
    RawOption,
    SeedOption,
    SizeOption,
    SpecArgument,
    WeightsOption,
    WidthOption,
    parse_size,
)

if TYPE_CHECKING:
    from mdcompiler.spec import Counts, Spec


def zoo(json: JsonOption = False) -> None:
    """List the specs that ship."""
    from mdcompiler.spec import count, load_spec, zoo_names

    rows = [(spec, count(spec)) for spec in map(load_spec, zoo_names())]
    if json:
        print_json([_summary(spec, counts) for spec, counts in rows])
        return
    table = [(spec.name, counts.macs, counts.params, spec.description) for spec, counts in rows]
    print_table("", ("name", "multiply-adds", "parameters", "description"), table)


def show(spec: SpecArgument, json: JsonOption = False, width: WidthOption = None, size: SizeOption = None) -> None:
    """Show a network block by block: shapes, multiply-adds, parameters."""
    from mdcompiler.read_network import Request, requested_spec
    from mdcompiler.spec import count

    loaded = requested_spec(Request(spec, None, 0, False, width, *parse_size(size)))
    counts = count(loaded)
    if json:
        print_json({**_summary(loaded, counts), "blocks": [_block(block) for block in counts.blocks]})
        return
    rows = [
        (block.path, block.text, "x".join(map(str, block.output[1:])), block.macs, block.params)
        for block in counts.blocks
    ]
    columns = ("block", "what", "output (CxHxW)", "multiply-adds", "parameters")
    print_table(f"{loaded.name}, {loaded.input.height}x{loaded.input.width}", columns, rows)
    print(f"{counts.macs:,} multiply-adds, {counts.params:,} parameters, {counts.anchors:,} anchors")


def lower(
    spec: SpecArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The ONNX file to write.")],
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    raw: RawOption = False,
    width: WidthOption = None,
    size: SizeOption = None,
) -> None:
    """Write a network as ONNX, nothing simplified."""
    from mdcompiler.read_network import Request, read_network
    from mdcompiler.target import find_target
    from mdcompiler.write_aside import write_file

    request = Request(spec, weights, seed, raw, width, *parse_size(size))
    module = read_network(request, find_target("null"))
    made_from: list[str | Path] = [spec] if weights is None else [spec, weights]
    write_file(out, module.to_onnx().SerializeToString(deterministic=True), made_from)
    note(f"mdc: wrote {out}")


def schema() -> None:
    """Print the JSON Schema of spec files, for editors."""
    from mdcompiler.spec import json_schema

    print_json(json_schema())


def _summary(spec: Spec, counts: Counts) -> dict[str, Any]:
    slots = spec.head.class_slots
    return {
        "name": spec.name,
        "description": spec.description,
        "macs": counts.macs,
        "params": counts.params,
        "anchors": counts.anchors,
        "input": {"name": "image", "shape": [1, spec.input.height, spec.input.width, 3], "dtype": "uint8"},
        "outputs": [
            {"name": "box_encodings", "shape": [1, counts.anchors, 4], "dtype": "float32"},
            {"name": "class_scores", "shape": [1, counts.anchors, slots], "dtype": "float32"},
        ],
    }


def _block(block: Any) -> dict[str, Any]:
    return {
        "path": block.path,
        "kind": block.kind,
        "text": block.text,
        "output": list(block.output),
        "macs": block.macs,
        "params": block.params,
    }

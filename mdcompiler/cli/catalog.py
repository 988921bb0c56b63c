"""Verbs about the toolkit itself: targets, passes, explain."""

from __future__ import annotations

from typing import Annotated

import typer

from mdcompiler.cli.console import print_json, print_table
from mdcompiler.cli.options import JsonOption, SizeOption, TargetOption, WidthOption, parse_size


def targets(json: JsonOption = False) -> None:
    """List the machines that can be compiled for."""
    from mdcompiler.target import shipped_targets

    known = shipped_targets()
    if json:
        print_json([target.model_dump(mode="json") for target in known.values()])
        return
    rows = [(target.name, target.backend, target.description) for target in known.values()]
    print_table("", ("target", "backend", "description"), rows)


def passes(json: JsonOption = False) -> None:
    """List the passes in the order in which they run, plug-ins' included."""
    from mdcompiler.explain import pass_table

    rows = pass_table()
    if json:
        print_json([row.as_dict() for row in rows])
        return
    table = [(row.name, row.stage, ", ".join(row.after), row.description) for row in rows]
    print_table("", ("pass", "stage", "after", "what it does"), table)


def explain(
    network: Annotated[
        str, typer.Argument(help="Name from the zoo, a spec or ONNX file, or a directory that `mdc compile` wrote.")
    ],
    target: TargetOption = "cpu",
    json: JsonOption = False,
    width: WidthOption = None,
    size: SizeOption = None,
) -> None:
    """Say what did not fuse and which kernels are not the backend's own, each with the reason; show the memory plan.

    Of a compiled directory: which kernels are not the backend's own, and which the check replaced.
    """
    from mdcompiler.artifact import open_artifact
    from mdcompiler.compiler import Job
    from mdcompiler.explain import explain_artifact, explain_job
    from mdcompiler.foreign import is_folder
    from mdcompiler.read_network import Request
    from mdcompiler.target import find_target

    if is_folder(network):
        explanation = explain_artifact(open_artifact(network).manifest)
    else:
        request = Request(network, None, 0, False, width, *parse_size(size))
        explanation = explain_job(Job(request, find_target(target)))
    if json:
        print_json(explanation.as_dict())
        return
    print(explanation.summary())
    if explanation.refusals:
        print_table("", ("by", "where", "reason"), [(row.by, row.where, row.reason) for row in explanation.refusals])
    if explanation.memory:
        columns = ("block", "memory", "kept, bytes", "moved, bytes", "what")
        rows = [(row.block, row.memory, row.kept_bytes, row.moved_bytes, row.what) for row in explanation.memory]
        print_table("", columns, rows)

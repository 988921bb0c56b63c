"""The verb compile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mdcompiler.cli.console import note, shown_progress
from mdcompiler.cli.cost_of_integers import cost_lines
from mdcompiler.cli.options import (
    NetworkArgument,
    RawOption,
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

if TYPE_CHECKING:
    from mdcompiler.artifact import Artifact
    from mdcompiler.compiler import Job

_MEBIBYTE = 1 << 20


def compile_network(
    network: NetworkArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the artifact.")],
    target: TargetOption = "cpu",
    precision: Annotated[str, typer.Option(help="Numeric type of the network: fp32 or int8.")] = "fp32",
    weights: WeightsOption = None,
    calibration: Annotated[Path | None, typer.Option(help="For int8: a folder of pictures, or .npz.")] = None,
    allow_degraded: Annotated[bool, typer.Option(help="Ship an int8 network that lost too much.")] = False,
    annotations: AnnotationsOption = None,
    max_loss: MaxLossOption = None,
    budget: BudgetOption = DEFAULT_BUDGET,
    keep_float: KeepFloatOption = None,
    wide: WideOption = None,
    without: WithoutOption = None,
    ranges: RangesOption = "mse",
    threads: Annotated[int, typer.Option(min=0, max=1024, help="Processes that compile at once; 0: all cores.")] = 0,
    tune: Annotated[int, typer.Option(min=0, help="Trials of the tuner for every kernel.")] = 0,
    stop_after: Annotated[str | None, typer.Option(help="Write the graph after this stage as ONNX, and stop.")] = None,
    seed: SeedOption = 0,
    raw: RawOption = False,
    width: WidthOption = None,
    size: SizeOption = None,
    check: Annotated[bool, typer.Option(help="Run the result against the reference before it is written.")] = True,
    check_input: Annotated[
        Path | None, typer.Option(help="Check with these arrays (.npz, or .npy for one input) and no drawn ones.")
    ] = None,
) -> None:
    """Compile a network for a machine."""
    _refuse_what_is_not_there(tune)

    from mdcompiler.backend import why_not_run
    from mdcompiler.compiler import Job
    from mdcompiler.processes import compile_processes
    from mdcompiler.read_network import Request
    from mdcompiler.target import find_target

    request = Request(network, weights, seed, raw, width, *parse_size(size))
    quantization = quantize_options(
        calibration,
        keep_float,
        wide,
        without,
        annotations=annotations,
        max_loss=max_loss,
        budget=budget,
        ranges=ranges,
        allow_degraded=allow_degraded,
    )
    with shown_progress() as progress:
        workers = threads or compile_processes()
        job = Job(request, find_target(target), precision, workers, check, progress, quantization)
        job.check_input = check_input
        if stop_after is not None:
            _write_graph(job, stop_after, out)
            return
        artifact = job.compile(out)
    note(_summary(artifact))
    reason = why_not_run(job.backend, job.target)
    if reason:
        note(f"mdc: only compiled, not run here: {reason}")
    direct = artifact.manifest.facts.get("direct_kernels")
    if isinstance(direct, list):
        names = ", ".join(map(str, direct))
        note(f"mdc: computed directly, because a faster kernel rounds too much for this network: {names}")
    if artifact.manifest.facts.get("ill_conditioned"):
        note(
            "mdc: in float32 this network depends on the order in which its sums are added: its outputs were compared "
            "as exactly as float32 settles them"
        )
    if quantization is not None:
        for line in cost_lines(artifact.manifest.facts.get("accuracy")):
            note(f"mdc: {line}")
    adapted = artifact.manifest.facts.get("adapted")
    if adapted:
        note(f"mdc: the weights file changed the spec: {adapted}")


def _refuse_what_is_not_there(tune: int) -> None:
    if tune:
        raise UnsupportedError(
            "compiling with --tune: tuning is a verb of its own. Run `mdc tune` for the same network and target; "
            "every later compilation finds its records. Leave --tune out."
        )


def _write_graph(job: Job, stage: str, out: Path) -> None:
    from mdcompiler.compiler import stage_named
    from mdcompiler.write_aside import refuse_sources, write_file

    file = out if out.suffix == ".onnx" else out / f"{stage_named(stage)}.onnx"
    refuse_sources(file, [str(job.request.network)])
    module = job.graph_after(stage_named(stage))
    write_file(file, module.to_onnx().SerializeToString(deterministic=True))
    note(f"mdc: wrote {file}")


def _summary(artifact: Artifact) -> str:
    manifest = artifact.manifest
    arena = manifest.facts.get("arena_bytes", 0)
    fallbacks = sum(kernel.fallback is not None for kernel in manifest.kernels)
    slow = f", {fallbacks} without a kernel of their own (`mdc explain`)" if fallbacks else ""
    return (
        f"mdc: {manifest.source.name} for {manifest.target.name} in {artifact.directory}: {len(manifest.kernels)} "
        f"kernels{slow}, {artifact.file_bytes / _MEBIBYTE:.1f} MiB, arena {int(str(arena)) / _MEBIBYTE:.1f} MiB"
    )

"""Our binaries against other runtimes on an NVIDIA GPU: the same weights and picture, bursts of runs taken in turn.

    python -m tests.benchmarks.gpu_peers                            # both networks, on this GPU
    python -m tests.benchmarks.gpu_peers mobiledet-gpu --precision fp16 --runs 400 --json gpu.json

Every runtime lives in a process of its own; outputs are compared before anything is timed, and times are from the
picture on the host to the outputs on the host. A runtime that cannot take part is named with the reason. The GPU's
clocks and every process's memory are stated.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx

import mdcompiler
from mdcompiler.backends.cuda.machine import capability_here, wanted_capability
from mdcompiler.compiler import Job
from mdcompiler.read_network import Request
from mdcompiler.spec import Spec
from mdcompiler.target import Target, find_target, shipped_targets
from mdcompiler.tolerance import relative_difference
from tests.benchmarks.agreement import WRONG, check_ours, describe
from tests.benchmarks.gpu_device import memory_mib, read_device
from tests.benchmarks.gpu_process import GpuProcess
from tests.benchmarks.gpu_result import Contest, GpuResult, as_json, report
from tests.benchmarks.gpu_runtimes import GPU_PEERS, GPU_RUNTIMES, PRECISIONS
from tests.benchmarks.half_model import half_model
from tests.benchmarks.peer_models import UnavailableError
from tests.benchmarks.peer_runtimes import OURS
from tests.benchmarks.subjects import Subject, prepare, zoo_spec

NETWORKS = ("mobiledet-gpu", "mobiledet-dsp")
_BURST = 20
_UNTIMED = 5
_PROFILES = 20
_HALF_TOLERANCE = 0.05
"""Of an output's range, in fp16: some runtimes add in float16 as well."""


def target_of_this_gpu() -> Target:
    """The shipped target with the highest capability that this GPU has. Raises SystemExit without a GPU."""
    here = capability_here()
    if isinstance(here, str):
        sys.exit(f"there is nothing to measure: {here}. Run this on a machine with an NVIDIA GPU.")
    known = [item for item in shipped_targets().values() if item.backend == "cuda" and wanted_capability(item) <= here]
    if not known:
        sys.exit(f"no target for compute capability {here[0]}.{here[1]}; copy a target file and give --target FILE.")
    return max(known, key=wanted_capability)


def measure(subject: Subject, models: Mapping[str, Path], folder: Path, runs: int) -> Contest:
    """All runtimes of `models` that start, ours first. Raises SystemExit when our own outputs are wrong."""
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        started = [_started(name, model, subject, folder, left_out) for name, model in models.items()]
        processes = [stack.enter_context(process) for process in started if process is not None]
        if OURS in left_out:
            sys.exit(f"{subject.network} {subject.precision}: our own artifact does not run: {left_out[OURS]}")
        differences = {process.name: _difference(subject, process) for process in processes}
        before = read_device()
        for index in range(-(-runs // _BURST) + 1):
            for process in processes[index % len(processes) :] + processes[: index % len(processes)]:
                process.run(_UNTIMED, _BURST if index else 0)
        results = tuple(_result(subject, process, differences[process.name]) for process in processes)
        return Contest(results, before, read_device(), left_out)


def _started(name: str, model: Path, subject: Subject, folder: Path, left_out: dict[str, str]) -> GpuProcess | None:
    """The process of a runtime, or None with the reason in `left_out`."""
    try:
        return GpuProcess(name, model, list(subject.expected), folder)
    except UnavailableError as reason:
        left_out[name] = str(reason)
        return None


def _difference(subject: Subject, process: GpuProcess) -> str:
    outputs = process.outputs()
    if subject.precision == "fp16":
        worst = max(relative_difference(outputs[name], want) for name, want in subject.expected.items())
        return f"{worst:.1e} of the range" + (f" {WRONG}" if worst > _HALF_TOLERANCE else "")
    if process.name == OURS:
        check_ours(subject, outputs)
    return describe(subject, outputs)


def _result(subject: Subject, process: GpuProcess, difference: str) -> GpuResult:
    return GpuResult(
        network=subject.network,
        precision=subject.precision,
        runtime=process.name,
        times_ms=tuple(process.times_ms),
        load_ms=process.load_ms,
        difference=difference,
        memory_mib=memory_mib(process.pid),
        kernels_ms=_kernels_ms(subject) if process.name == OURS else None,
    )


def _kernels_ms(subject: Subject) -> float | None:
    """The shortest profile of our kernels, added up."""
    with subject.artifact.load() as detector:
        profile = getattr(detector.runnable, "profile", None)
        if profile is None:
            return None
        runs = [profile({"image": subject.image}) for _ in range(_PROFILES)]
        return float(min(sum(nanoseconds for _, nanoseconds in run) for run in runs)) / 1e6


def subject_for(spec: Spec, precision: str, folder: Path, target: str) -> Subject:
    """The network as ONNX and as our artifact; in fp16 ours stores float16 and adds in float32."""
    if precision == "int8":
        return prepare(spec, "int8", folder, target)
    subject = prepare(spec, "fp32", folder, "null")
    dtypes = ("float16", "float32") if precision == "fp16" else ("float32",)
    machine = find_target(target).model_copy(update={"dtypes": dtypes})
    made = mdcompiler.compile(spec, machine, folder / "gpu", raw=True, check=False)
    return Subject(subject.network, precision, subject.model, made, subject.image, subject.expected, subject.allowed)


def models_for(
    subject: Subject, spec: Spec, peers: Sequence[str], folder: Path
) -> tuple[dict[str, Path], dict[str, str]]:
    """What each runtime loads, ours first, and who is left out and why."""
    models, left_out = {OURS: subject.artifact.directory}, dict[str, str]()
    for name in peers:
        if find_spec(GPU_RUNTIMES[name].module) is None:
            left_out[name] = f"not installed ({GPU_RUNTIMES[name].install})"
        elif name == "torch" and subject.precision == "int8":
            left_out[name] = "torch runs no quantized graph on a GPU"
        else:
            models[name] = _onnx_file(subject, spec, name, folder)
    return models, left_out


def _onnx_file(subject: Subject, spec: Spec, runtime: str, folder: Path) -> Path:
    """A file whose name says the precision. Where fp16 is not the runtime's own choice, its weights are float16."""
    path = folder / f"{runtime}.{subject.precision}.onnx"
    if runtime == "torch":
        model = Job(Request(spec, raw=True), find_target("null")).graph_after("simplify").to_onnx()
        onnx.save(model, str(path))
    elif runtime == "onnxruntime-cuda" and subject.precision == "fp16":
        onnx.save(half_model(onnx.load(str(subject.model))), str(path))
    else:
        path.write_bytes(subject.model.read_bytes())
    return path


def run_all(options: argparse.Namespace) -> Iterator[Contest]:
    """One contest after the other."""
    target = options.target or target_of_this_gpu().name
    for network in options.networks:
        for precision in options.precision:
            with tempfile.TemporaryDirectory(prefix="gpu-peers-") as name:
                folder, spec = Path(name), zoo_spec(network, options.size)
                subject = subject_for(spec, precision, folder, target)
                np.save(folder / "image.npy", subject.image)
                models, absent = models_for(subject, spec, options.peers, folder)
                contest = measure(subject, models, folder, options.runs)
                contest.left_out.update(absent)
                yield contest


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    made.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    made.add_argument("--runs", type=int, default=200, help="timed runs of each runtime, in bursts of 20")
    made.add_argument("--peers", nargs="*", choices=GPU_PEERS, default=list(GPU_PEERS))
    made.add_argument("--size", type=int, help="pixels of the square picture instead of the spec's")
    made.add_argument("--target", help="what our artifact is compiled for; default: the shipped target of this GPU")
    made.add_argument("--json", type=Path, help="file for every time that was measured")
    return made


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the report."""
    options = parser().parse_args(arguments)
    contests: list[Contest] = []
    for contest in run_all(options):
        contests.append(contest)
        print(contest.table(), flush=True)
        if options.json:
            options.json.write_text(as_json(contests))
    print(report(contests))


if __name__ == "__main__":
    main()

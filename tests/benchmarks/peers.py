"""Our binaries against other runtimes: the same weights, picture and cores, runs taken in turn.

    python -m tests.benchmarks.peers                      # the whole zoo, fp32 and int8, 1 and 2 threads
    python -m tests.benchmarks.peers mobiledet-cpu --precision int8 --threads 1 --runs 60 --write

Every runtime lives in a process of its own, pinned to the same cores; outputs are compared before anything is timed.
In int8 all read one quantized graph, and our outputs must be those of the integer reference, bit for bit. A runtime
that cannot take part is named with the reason. `--write` puts tables and plots into RESULTS.md and its folder.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from mdcompiler.spec import zoo_names
from mdcompiler.target import find_target
from tests.benchmarks import report
from tests.benchmarks.agreement import check_ours, describe
from tests.benchmarks.c_start import measure as measure_c_start
from tests.benchmarks.peer_models import UnavailableError, file_bytes, model_for
from tests.benchmarks.peer_process import PeerProcess, start
from tests.benchmarks.peer_runtimes import OURS, PEERS
from tests.benchmarks.result import Result
from tests.benchmarks.subjects import PRECISIONS, Subject, prepare, zoo_spec

_WARM_UP = 5
_PAUSE_S = 0.02
"""Between runs of more than one thread: the workers of some runtimes spin on for a while after a run."""


def measure(subject: Subject, threads: int, runs: int, models: dict[str, Path], folder: Path) -> list[Result]:
    """One result for each runtime in `models`. Raises SystemExit when our own outputs are wrong."""
    cores = pinned_cores(threads)
    with ExitStack() as stack:
        processes = [
            stack.enter_context(start(name, model, threads, subject, folder, cores)) for name, model in models.items()
        ]
        differences = {peer.name: _difference(subject, peer) for peer in processes}
        for index in range(_WARM_UP + runs):
            for peer in _rotated(processes, index):
                time.sleep(_PAUSE_S if threads > 1 else 0)
                peer.run(counts=index >= _WARM_UP)
        return [_result(subject, threads, peer, models[peer.name], differences[peer.name]) for peer in processes]


def pinned_cores(threads: int) -> set[int]:
    """The last `threads` cores of this process: the first ones tend to serve interrupts."""
    return set(sorted(os.sched_getaffinity(0))[-threads:])


def _rotated(processes: list[PeerProcess], index: int) -> list[PeerProcess]:
    """Nobody always runs after the same neighbour."""
    first = index % len(processes)
    return processes[first:] + processes[:first]


def _difference(subject: Subject, peer: PeerProcess) -> str:
    outputs = peer.outputs()
    if peer.name == OURS:
        check_ours(subject, outputs)
    return describe(subject, outputs)


def _result(subject: Subject, threads: int, peer: PeerProcess, model: Path, difference: str) -> Result:
    arena = subject.artifact.manifest.facts["arena_bytes"] if peer.name == OURS else None
    c_start = measure_c_start(subject.artifact) if peer.name == OURS and threads == 1 else None
    return Result(
        network=subject.network,
        precision=subject.precision,
        threads=threads,
        runtime=peer.name,
        times_ms=tuple(peer.times_ms),
        cpu_ms=tuple(peer.cpu_ms),
        file_bytes=file_bytes(model),
        difference=difference,
        arena_bytes=arena if isinstance(arena, int) else None,
        c_start=c_start,
        **peer.facts(),
    )


def usable_models(subject: Subject, peers: Sequence[str], folder: Path, tflite: Path | None) -> dict[str, Path]:
    """What each runtime loads, ours first; who cannot take part is named on stderr."""
    found = {name: _model_or_none(name, subject, folder, tflite) for name in (OURS, *peers)}
    return {name: model for name, model in found.items() if model is not None}


def _model_or_none(runtime: str, subject: Subject, folder: Path, tflite: Path | None) -> Path | None:
    try:
        return model_for(runtime, subject, folder, tflite)
    except UnavailableError as error:
        print(f"{subject.network} {subject.precision}: {runtime} left out: {error}", file=sys.stderr)
        return None


def run_all(options: argparse.Namespace) -> Iterator[list[Result]]:
    """The results of one network, precision and number of threads after another."""
    for network in options.networks:
        for precision in options.precision:
            with tempfile.TemporaryDirectory(prefix="peers-") as name:
                folder = Path(name)
                subject = prepare(zoo_spec(network, options.size), precision, folder, options.target)
                np.save(folder / "image.npy", subject.image)
                models = usable_models(subject, options.peers, folder, options.tflite)
                for threads in options.threads:
                    yield measure(subject, threads, options.runs, models, folder)


def parser() -> argparse.ArgumentParser:
    """Options of the command."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("networks", nargs="*", default=list(zoo_names()), help="names from the zoo; all of them")
    made.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    made.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    made.add_argument("--runs", type=int, default=60, help="of each runtime, after a few that do not count")
    made.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    made.add_argument("--size", type=int, help="pixels of the square picture instead of the spec's")
    made.add_argument("--target", default="cpu", help="what our artifact is compiled for")
    made.add_argument("--tflite", type=Path, help="folder with NETWORK.PRECISION.tflite for litert")
    made.add_argument("--write", action="store_true", help="tables and plots into RESULTS.md and its folder")
    return made


def main() -> None:
    options = parser().parse_args()
    cores = len(os.sched_getaffinity(0))
    if max(options.threads) > cores:
        sys.exit(f"{max(options.threads)} threads on {cores} cores measure nothing; give --threads 1 .. {cores}.")
    find_target(options.target)
    results: list[Result] = []
    for rows in run_all(options):
        results += rows
        print(report.time_table(rows), report.cpu_table(rows), sep="\n", flush=True)
        if options.write:
            report.write(results, report.head(options.runs, options.size))
    print(report.sections(results))


if __name__ == "__main__":
    main()

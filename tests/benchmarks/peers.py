"""Our binaries against other runtimes: the same weights, picture and cores, runs taken in turn.

    python -m tests.benchmarks.peers mobiledet-cpu mobiledet-gpu --threads 1 --runs 60 --write

Every runtime lives in a process of its own, pinned to the same cores; outputs are compared before
anything is timed. A runtime that is not installed is left out and named. `--write` adds the table to
RESULTS.md with the machine and the versions.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
import onnx

import mdcompiler
from mdcompiler.lower import lower
from mdcompiler.spec import load_spec, weight_shapes, zoo_names
from mdcompiler.tolerance import describe_difference, within_float_tolerance
from mdcompiler.weights import seeded_weights

PEERS = ("onnxruntime", "openvino")
OURS = "mdcompiler"
RESULTS = Path(__file__).with_name("RESULTS.md")
_WARM_UP = 5


@dataclass
class Runner:
    """One runtime's process. times_ms: of the runs that count."""

    name: str
    process: subprocess.Popen[str]
    load_ms: float
    times_ms: list[float]

    def ask(self, word: str) -> int:
        """Send one line, read one number."""
        write, read = _pipes(self.process)
        print(word, file=write, flush=True)
        return int(read.readline())


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def start(name: str, model: Path, threads: int, folder: Path, cores: set[int]) -> Runner:
    """Load `model` in a new process pinned to `cores`; its outputs lie in folder/name.npz afterwards."""
    command = [sys.executable, "-m", "tests.benchmarks.peer_worker", name, str(model), str(threads)]
    command += [str(folder / "image.npy"), str(folder / f"{name}.npz")]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    load_ns = int(_pipes(process)[1].readline())
    return Runner(name, process, load_ns / 1e6, [])


def measure(network: str, threads: int, runs: int, peers: list[str]) -> list[dict[str, float | str]]:
    """One row a runtime, ours first. Raises SystemExit when outputs differ."""
    spec = load_spec(network)
    model = lower(spec, seeded_weights(weight_shapes(spec), 0), raw=True)
    cores = set(sorted(os.sched_getaffinity(0))[:threads])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(model, str(folder / "model.onnx"))
        mdcompiler.compile(spec, "cpu", folder / "out", raw=True, check=False)
        image = np.random.default_rng(0).integers(0, 256, (1, spec.input.height, spec.input.width, 3), dtype=np.uint8)
        np.save(folder / "image.npy", image)
        runners = [
            start(peer, folder / ("out" if peer == OURS else "model.onnx"), threads, folder, cores)
            for peer in (OURS, *peers)
        ]
        for index in range(_WARM_UP + runs):
            for runner in runners:
                spent = runner.ask("run") / 1e6
                if index == 0:
                    _compare(folder, runner.name, network)
                if index >= _WARM_UP:
                    runner.times_ms.append(spent)
        return [_row(network, threads, runner, _best_peer(runners)) for runner in runners]


def _compare(folder: Path, name: str, network: str) -> None:
    """Stop when the outputs of `name` are not ours."""
    ours, theirs = (np.load(folder / f"{who}.npz") for who in (OURS, name))
    for key in ours.files:
        if not within_float_tolerance(ours[key], theirs[key]):
            sys.exit(f"{network}: {key} of {name} differs: {describe_difference(ours[key], theirs[key])}")


def _best_peer(runners: list[Runner]) -> float:
    return min((statistics.median(r.times_ms) for r in runners if r.name != OURS), default=float("nan"))


def _row(network: str, threads: int, runner: Runner, best_peer_ms: float) -> dict[str, float | str]:
    memory_kib = runner.ask("memory")
    _pipes(runner.process)[0].close()
    runner.process.wait()
    median = statistics.median(runner.times_ms)
    return {
        "network": network,
        "threads": threads,
        "runtime": runner.name,
        "median_ms": median,
        "min_ms": min(runner.times_ms),
        "ratio": median / best_peer_ms if runner.name == OURS else float("nan"),
        "load_ms": runner.load_ms,
        "process_mib": memory_kib / 1024,
    }


def table(rows: list[dict[str, float | str]]) -> str:
    """The rows as Markdown."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = [_cell(row[column]) for column in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: float | str) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.2f}"
    return str(value)


def machine() -> str:
    """Processor, cores and versions, for the head of a table."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    packages = [OURS, "apache-tvm", *PEERS]
    return f"{model}, {os.cpu_count()} logical cores, Python {platform.python_version()}; " + ", ".join(
        f"{package} {found}" for package in packages if (found := _version(package))
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=[n for n in zoo_names() if n.startswith("mobiledet")])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--write", action="store_true", help="append the table to RESULTS.md")
    options = parser.parse_args()
    peers = [peer for peer in PEERS if find_spec(peer)]
    for peer in sorted(set(PEERS) - set(peers)):
        print(f"left out: {peer} is not installed (pip install {peer})", file=sys.stderr)
    rows = [row for name in options.networks for row in measure(name, options.threads, options.runs, peers)]
    print(table(rows))
    if options.write:
        with RESULTS.open("a") as stream:
            stream.write(f"\n## fp32, {options.threads} thread(s)\n\n{machine()}\n\n{table(rows)}\n")


if __name__ == "__main__":
    main()

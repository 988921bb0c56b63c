"""The parent's end of a `peer_worker`: start it pinned, ask for runs, collect times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from tests.benchmarks.subjects import Arrays, Subject


class PeerProcess:
    """One runtime's process. times_ms, cpu_ms: of the runs that count, on the clock and of all threads."""

    def __init__(self, name: str, process: subprocess.Popen[str], outputs: Path) -> None:
        self.name = name
        self.times_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self._process = process
        self._outputs = outputs
        self._loaded = self._answer()

    def run(self, counts: bool) -> None:
        """One run; its time is kept when it counts."""
        self._ask("run")
        spent = self._answer()
        if counts:
            self.times_ms.append(spent["wall_ms"])
            self.cpu_ms.append(spent["cpu_ms"])

    def outputs(self) -> Arrays:
        """Of the first run, by name."""
        with np.load(self._outputs) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def facts(self) -> dict[str, Any]:
        """Times of loading, memory in MiB and busy threads, as `peer_worker` tells them."""
        self._ask("facts")
        return {**self._loaded, **self._answer()}

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()

    def _ask(self, word: str) -> None:
        print(word, file=_open(self._process.stdin), flush=True)

    def _answer(self) -> dict[str, Any]:
        """The next line that is ours: some runtimes greet on standard output."""
        for line in _open(self._process.stdout):
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise RuntimeError(f"the process of {self.name} ended with {self._process.wait()}")


def start(name: str, model: Path, threads: int, subject: Subject, folder: Path, cores: set[int]) -> PeerProcess:
    """Load `model` in a new process pinned to `cores`, with the picture in folder/image.npy.

    Raises RuntimeError when the process dies.
    """
    outputs = folder / f"{name}-{threads}.npz"
    command = [sys.executable, "-m", "tests.benchmarks.peer_worker", name, str(model), str(threads)]
    command += [",".join(subject.expected), str(folder / "image.npy"), str(outputs)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    return PeerProcess(name, process, outputs)


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None, "both are pipes"
    return stream

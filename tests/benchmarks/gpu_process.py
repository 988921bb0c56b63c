"""The parent's end of a `gpu_worker`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from tests.benchmarks.peer_models import UnavailableError
from tests.benchmarks.subjects import Arrays

_WORKER = "tests.benchmarks.gpu_worker"


class GpuProcess:
    """One runtime's process. times_ms: of all timed runs. load_ms: file to first result."""

    def __init__(self, name: str, model: Path, names: Sequence[str], folder: Path) -> None:
        """Load `model` in a new process, with the picture in folder/image.npy.

        names: of the outputs. Raises UnavailableError with the reason when the runtime cannot take part.
        """
        self.name, self.times_ms = name, list[float]()
        self._outputs = folder / f"{name}.npz"
        command = [sys.executable, "-m", _WORKER, name, str(model), ",".join(names), str(folder / "image.npy")]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([*command, str(self._outputs)], stdin=pipe, stdout=pipe, text=True)
        try:
            first = self._answer()
        except UnavailableError:
            self.close()
            raise
        if "error" in first:
            self.close()
            raise UnavailableError(first["error"])
        self.load_ms = float(first["load_ms"])

    @property
    def pid(self) -> int:
        return self._process.pid

    def run(self, untimed: int, timed: int) -> None:
        """A burst: the first runs bring the GPU back to this process and do not count."""
        print(untimed, timed, file=_open(self._process.stdin), flush=True)
        self.times_ms += self._answer()["times_ms"]

    def outputs(self) -> Arrays:
        """Of the first run, by name."""
        with np.load(self._outputs) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def __enter__(self) -> GpuProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _answer(self) -> dict[str, Any]:
        """The next line that is ours: some runtimes greet on standard output."""
        for line in _open(self._process.stdout):
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise UnavailableError(f"its process ended with {self._process.wait()}")


def _open(stream: IO[str] | None) -> IO[str]:
    assert stream is not None, "both are pipes"
    return stream

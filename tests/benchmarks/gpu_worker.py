"""One runtime on the GPU in a process of its own.

    python -m tests.benchmarks.gpu_worker RUNTIME MODEL NAMES INPUT.npy OUTPUTS.npz

NAMES: the outputs, separated by commas. The first line out is JSON: `load_ms`, from the file to the first result, or
`error`. Then every line `UNTIMED TIMED` on stdin asks for so many runs, answered by `times_ms` of the timed ones.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.gpu_runtimes import GPU_RUNTIMES
from tests.benchmarks.peer_runtimes import Run


def serve(arguments: list[str]) -> None:
    """Load, then run as asked until stdin ends."""
    name, model, outputs, image_file, outputs_file = arguments
    began = time.perf_counter_ns()
    try:
        run = GPU_RUNTIMES[name].load(Path(model), 1, np.load(image_file), outputs.split(","))
        first = run()
    except Exception as error:
        say({"error": f"{type(error).__name__}: {str(error).strip()[:300]}"})
        return
    np.savez(outputs_file, allow_pickle=False, **first)
    say({"load_ms": (time.perf_counter_ns() - began) / 1e6})
    for line in sys.stdin:
        untimed, timed = map(int, line.split())
        for _ in range(untimed):
            run()
        say({"times_ms": [_timed(run) for _ in range(timed)]})


def _timed(run: Run) -> float:
    began = time.perf_counter_ns()
    run()
    return (time.perf_counter_ns() - began) / 1e6


def say(facts: Mapping[str, Any]) -> None:
    """One line of JSON."""
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    serve(sys.argv[1:])

"""One runtime in a process of its own: loads a network, then runs it once for every line `run` on stdin.

    python -m tests.benchmarks.peer_worker RUNTIME MODEL THREADS NAMES INPUT.npy OUTPUTS.npz

NAMES: the outputs, separated by commas. The first line out is JSON (`import_ms`; `load_ms`, from the file to the
first result), then comes one for each run (`wall_ms`; `cpu_ms`, of all threads); `facts` asks for what is known at the
end.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np

from tests.benchmarks.peer_runtimes import RUNTIMES

_BUSY_SHARE = 0.1
"""Of the processor time of all threads: what makes one count as busy."""


def memory_kib(field: str) -> int:
    """VmHWM (most that was resident) or VmRSS of this process; getrusage would count the parent before exec too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def thread_times_ns() -> dict[str, int]:
    """Processor time of every thread of this process."""
    tasks = Path("/proc/self/task").iterdir()
    return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}


def busy_threads(before: dict[str, int], after: dict[str, int]) -> int:
    """How many threads had a share in the work between two readings of `thread_times_ns`."""
    spent = [time_ns - before.get(name, 0) for name, time_ns in after.items()]
    return sum(item >= _BUSY_SHARE * sum(spent) for item in spent)


def main() -> None:
    name, model, threads, outputs, image_file, outputs_file = sys.argv[1:]
    image, runtime = np.load(image_file), RUNTIMES[name]
    bare_kib, started = memory_kib("VmRSS"), time.perf_counter_ns()
    import_module(runtime.module)
    imported = time.perf_counter_ns()
    run = runtime.load(Path(model), int(threads), image, outputs.split(","))
    first = run()
    loaded = time.perf_counter_ns()
    np.savez(outputs_file, allow_pickle=False, **first)
    say({"import_ms": (imported - started) / 1e6, "load_ms": (loaded - imported) / 1e6})
    before = thread_times_ns()
    for line in sys.stdin:
        if line.strip() == "facts":
            peak_kib, busy = memory_kib("VmHWM"), busy_threads(before, thread_times_ns())
            say({"peak_mib": peak_kib / 1024, "added_mib": (peak_kib - bare_kib) / 1024, "busy_threads": busy})
            continue
        begin, begin_cpu = time.perf_counter_ns(), time.process_time_ns()
        run()
        spent, spent_cpu = time.perf_counter_ns() - begin, time.process_time_ns() - begin_cpu
        say({"wall_ms": spent / 1e6, "cpu_ms": spent_cpu / 1e6})


def say(facts: dict[str, float]) -> None:
    """One line of JSON."""
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()

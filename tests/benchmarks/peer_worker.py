"""One runtime in a process of its own: loads a network, then runs it once for every line on stdin.

    python -m tests.benchmarks.peer_worker RUNTIME MODEL THREADS INPUT.npy OUTPUTS.npz

MODEL is an ONNX file, for `mdcompiler` an artifact directory. First line out: load time, then the
nanoseconds of each run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[], dict[str, Array]]


def load_mdcompiler(model: Path, threads: int, image: Array) -> Run:
    import mdcompiler

    detector = mdcompiler.load(model, threads=threads)
    return lambda: detector.run({"image": image})


def load_onnxruntime(model: Path, threads: int, image: Array) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda: dict(zip(names, session.run(names, {"image": image}), strict=True))


def load_openvino(model: Path, threads: int, image: Array) -> Run:
    import openvino

    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = core.compile_model(core.read_model(str(model)), "CPU", options).create_infer_request()

    def run() -> dict[str, Array]:
        results = request.infer({0: image}, share_inputs=True, share_outputs=True)
        return {key.get_any_name(): np.asarray(value) for key, value in results.items()}

    return run


LOADERS: dict[str, Callable[[Path, int, Array], Run]] = {
    "mdcompiler": load_mdcompiler,
    "onnxruntime": load_onnxruntime,
    "openvino": load_openvino,
}


def peak_kib() -> int:
    """Most memory this process had resident; getrusage would count the parent before exec as well."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    runtime, model, threads, image, outputs = sys.argv[1:]
    started = time.perf_counter_ns()
    run = LOADERS[runtime](Path(model), int(threads), np.load(image))
    print(time.perf_counter_ns() - started, flush=True)
    np.savez(outputs, allow_pickle=False, **run())
    for line in sys.stdin:
        if line.strip() == "memory":
            print(peak_kib(), flush=True)
            continue
        begin = time.perf_counter_ns()
        run()
        print(time.perf_counter_ns() - begin, flush=True)


if __name__ == "__main__":
    main()

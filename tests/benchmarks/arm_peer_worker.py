"""One runtime on one network in an emulated process, with marks around one run for the counting plug-in.

    python -m tests.benchmarks.arm_peer_worker RUNTIME MODEL NAMES IMAGE.npy OUTPUTS.npz MARKS.so

The first run, which prepares what later ones reuse, is not counted.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.peer_runtimes import RUNTIMES


def main() -> None:
    name, model, outputs, image_file, outputs_file, marks_file = sys.argv[1:]
    marks = ctypes.CDLL(marks_file)
    image = as_expected(name, model, np.load(image_file))
    run = RUNTIMES[name].load(Path(model), 1, image, outputs.split(","))
    run()
    marks.mark_start()
    found = run()
    marks.mark_end()
    np.savez(outputs_file, allow_pickle=False, **found)


def as_expected(runtime: str, model: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture in the type and the layout that a `.tflite` takes: converters leave floats, or planes, there."""
    if runtime != "litert":
        return image
    from ai_edge_litert.interpreter import Interpreter

    wanted = Interpreter(model).get_input_details()[0]
    placed = image if tuple(wanted["shape"]) == image.shape else image.transpose(0, 3, 1, 2)
    converted: NDArray[np.uint8] = placed.astype(wanted["dtype"])
    return converted


if __name__ == "__main__":
    main()

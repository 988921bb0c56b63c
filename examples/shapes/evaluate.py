"""mAP of a shapes detector over held-out scenes: of its float network, or of what it was compiled to.

python -m examples.shapes.evaluate mobiledet-cpu-shapes                          # the weights that ship, in float
python -m examples.shapes.evaluate mobiledet-cpu-shapes --weights out/shapes/mobiledet-cpu-shapes.safetensors
python -m examples.shapes.evaluate mobiledet-cpu-shapes --artifact out/cpu --json  # a directory made by `mdc compile`

Needs the extras `eval` (pycocotools) and, for the float network, `reference` (onnxruntime).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

import mdcompiler
from examples.shapes.accuracy import Accuracy, Detect, held_out_scenes, measure
from examples.shapes.shipped import spec_source, weights_file
from mdcompiler.detections import Detection, detections_from
from mdcompiler.lower import lower
from mdcompiler.spec import load_spec
from mdcompiler.weights import weights_for


def onnx_detector(model: onnx.ModelProto, threads: int = 1) -> Detect:
    """What ONNX Runtime sees with `model`, a lowered detector that ends with detections."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]

    def detect(image: NDArray[np.uint8]) -> list[Detection]:
        outputs = session.run(names, {"image": image[np.newaxis]})
        return detections_from(dict(zip(names, outputs, strict=True)))

    return detect


def evaluate(arguments: argparse.Namespace) -> Accuracy:
    """The accuracy that the command line asks for."""
    spec = load_spec(spec_source(arguments.spec))
    scenes = held_out_scenes(arguments.scenes, spec.input.height)
    if arguments.artifact is not None:
        with mdcompiler.load(arguments.artifact) as detector:
            return measure(detector.detect, scenes)
    weights = weights_for(spec, arguments.weights or weights_file(arguments.spec))
    return measure(onnx_detector(lower(spec, weights)), scenes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", help="mobiledet-cpu-shapes, mobiledet-edgetpu-shapes, or a spec file")
    parser.add_argument("--weights", type=Path, help="weights of the float network; the shipped ones if left out")
    parser.add_argument("--artifact", type=Path, help="measure this compiled network instead")
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    began = time.monotonic()
    found = evaluate(arguments)
    if arguments.json:
        json.dump(found.as_dict(), sys.stdout, indent=2)
        return
    print(f"mAP {found.mean_ap:.4f}  AP50 {found.ap50:.4f}  AP75 {found.ap75:.4f}  recall {found.recall:.4f}")
    print("  ".join(f"{name} {share:.3f}" for name, share in found.class_ap.items()))
    print(f"{found.scenes} scenes, {found.objects} objects, {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()

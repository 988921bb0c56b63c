"""What quantization costs: float, naive int8 and ours, side by side. `python -m tests.benchmarks.quantization`.

Naive is per-tensor weights, ranges by min-max, no method. The cat/dog detector and coco128 are found by
MDC_SHARED_DATA and left out where they are absent; the shapes detectors ship. They are quantized with scenes of other
seeds than those they are measured on; "automatic" may keep blocks in float so that at most one point of mAP is lost.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from examples.shapes.accuracy import held_out_scenes, measure
from examples.shapes.calibration import write_calibration
from examples.shapes.shipped import spec_source, weights_file
from mdcompiler.accuracy.annotated import Eyes
from mdcompiler.accuracy.mean_average_precision import mean_average_precision, read_annotations
from mdcompiler.calibration import Samples, open_samples
from mdcompiler.compiler import Job
from mdcompiler.detections import Detection
from mdcompiler.images import read_picture, to_input
from mdcompiler.module import Module
from mdcompiler.passes import quantization_passes
from mdcompiler.passes.quantize_calibrated import ACCURACY, QuantizeCalibrated
from mdcompiler.progress import silent
from mdcompiler.quantization.options import Quantize
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.read_network import Request
from mdcompiler.registry import backend
from mdcompiler.target import find_target

INPUT = "image"
DATA = Path(os.environ.get("MDC_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LABELS = ("cat", "dog")
SHAPES = ("mobiledet-cpu-shapes", "mobiledet-edgetpu-shapes")
RIGHT = (1, 0, 0, 1, 1, 0, 1, 0)
"""Classes of image1 to image8."""


def look(eyes: Eyes, path: Path) -> list[Detection]:
    """The detections in a picture file, best first."""
    return eyes.see({INPUT: to_input(read_picture(path), eyes.head.height, eyes.head.width)})


def catdog_float(data: Path = DATA) -> Module:
    """The real detector, dequantized to float, kernels marked."""
    weights = data / "mobiledet_catdog" / "ssdlite_mobiledet_dog_vs_cat.tflite"
    request = Request("mobiledet-edgetpu", weights, raw=True)
    return Job(request, find_target("cpu")).graph_after("fuse")


def copy(module: Module) -> Module:
    return Module.from_onnx(module.to_onnx(), module.target)


def naive(module: Module, samples: Samples) -> Module:
    """A copy quantized with one scale for all of a weight tensor, ranges by min-max and no method."""
    result = copy(module)
    scheme = find_scheme("cpu").model_copy(update={"per_channel": False})
    QuantizeCalibrated(samples, "min-max", methods=(), scheme=scheme, compared=2, allow_degraded=True).run(result)
    return result


def quantize(module: Module, options: Quantize) -> Module:
    """A copy quantized for the cpu as `mdc compile --precision int8` does with `options`."""
    result, target = copy(module), module.target
    why_not = backend(target.backend).why_not
    for item in quantization_passes(result, options, lambda kernel: why_not(kernel, target), silent):
        item.run(result)
    return result


def catdog_points(eyes: Eyes, data: Path = DATA) -> float:
    """mAP over the 17 pictures of coco128 with a cat or a dog: the mean of both halves by their pictures."""
    total = count = 0.0
    for half in ("train2017", "val2017"):
        folder = data / "coco128"
        annotations = read_annotations(folder / f"instances_{half}.json", folder / half, LABELS)
        score = mean_average_precision(annotations, partial(look, eyes))
        total, count = total + score.all * score.pictures, count + score.pictures
    return total / count


def best(eyes: Eyes, data: Path = DATA) -> list[Detection]:
    """The best detection in each of the eight test pictures."""
    return [look(eyes, data / "mobiledet_catdog" / f"image{index}.jpg")[0] for index in range(1, 9)]


def overlap(first: Detection, second: Detection) -> float:
    """Intersection over union of two boxes."""
    a, b = np.array(first.box), np.array(second.box)
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    shared = sides.prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


def rows() -> Iterator[tuple[str, float, int, float, float]]:
    """network, mAP, right of 8, mean IoU with float, seconds."""
    original = catdog_float()
    calibration = DATA / "coco128" / "train2017"
    makers = {
        "float": partial(copy, original),
        "naive int8": partial(naive, original, open_samples(calibration, original, 32)),
        "our int8": partial(quantize, original, Quantize(calibration, samples=32)),
    }
    wanted = best(Eyes(original, LABELS))
    for name, make in makers.items():
        started = time.perf_counter()
        eyes = Eyes(make(), LABELS)
        spent = time.perf_counter() - started
        found = best(eyes)
        right = sum(item.class_index == index for item, index in zip(found, RIGHT, strict=True))
        yield name, catdog_points(eyes), right, float(np.mean(list(map(overlap, wanted, found)))), spent


def shapes_rows(
    name: str, scenes: int, calibrated: int, folder: Path
) -> Iterator[tuple[str, float, float, str, float]]:
    """network, mAP and AP50 in points of 100, what is not int8, seconds: over `scenes` held-out scenes.

    `calibrated` scenes of other seeds are drawn into `folder`; the automatic choice looks at all of them.
    """
    pictures, annotations = write_calibration(folder, calibrated)
    request = Request(spec_source(name), weights_file(name), raw=True)
    original = Job(request, find_target("cpu")).graph_after("fuse")
    measured = list(held_out_scenes(scenes, original.graph.inputs[0].shape[1]))
    makers = {
        "float": partial(copy, original),
        "naive int8": partial(naive, original, open_samples(pictures, original)),
        "our int8": partial(quantize, original, Quantize(pictures, allow_degraded=True)),
        "automatic": partial(quantize, original, Quantize(pictures, annotations, max_loss=1.0)),
    }
    for label, make in makers.items():
        started = time.perf_counter()
        module = make()
        spent = time.perf_counter() - started
        eyes = Eyes(module)
        found = measure(lambda image, eyes=eyes: eyes.see({INPUT: image[np.newaxis]}), measured)  # type: ignore[misc]
        chosen = json.loads(module.metadata.get(ACCURACY, "{}")).get("precision", {})
        yield label, 100 * found.mean_ap, 100 * found.ap50, " ".join(chosen), spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=500, help="held-out scenes of shapes that are measured")
    parser.add_argument("--calibrated", type=int, default=256, help="scenes of shapes to quantize with")
    parser.add_argument("--only", choices=("catdog", *SHAPES), help="one detector instead of all")
    arguments = parser.parse_args()
    if DATA.is_dir() and arguments.only in (None, "catdog"):
        print(f"{'cat/dog':12}{'mAP':>8}{'right':>7}{'IoU':>8}{'seconds':>9}")
        for name, points, right, mean, spent in rows():
            print(f"{name:12}{points:8.2f}{right:5}/8{mean:8.3f}{spent:9.1f}", flush=True)
    for detector in SHAPES:
        if arguments.only in (None, detector):
            print(f"{detector}\n{'':12}{'mAP':>8}{'AP50':>8}{'seconds':>9}  not int8")
            with tempfile.TemporaryDirectory() as folder:
                for row in shapes_rows(detector, arguments.scenes, arguments.calibrated, Path(folder)):
                    label, points, half, chosen, spent = row
                    print(f"{label:12}{points:8.2f}{half:8.2f}{spent:9.1f}  {chosen}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What quantization costs: float, naive int8 and ours, side by side. `python tests/benchmarks/quantization.py`.

Naive is per-tensor weights, ranges by min-max, no method. The cat/dog detector and coco128 are found by
MDC_SHARED_DATA and left out where they are absent; the shapes detectors ship. `--scenes N` sets how many held-out
scenes of shapes are measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdcompiler.accuracy.gates import Limits
from mdcompiler.accuracy.head import DetectorHead, find_head
from mdcompiler.accuracy.mean_average_precision import mean_average_precision, read_annotations
from mdcompiler.calibration import ListedSamples, Probe, open_samples
from mdcompiler.compiler import Job
from mdcompiler.detections import Detection, detections_from, postprocess
from mdcompiler.images import read_picture, to_input
from mdcompiler.module import Module
from mdcompiler.passes.quantize_calibrated import QuantizeCalibrated
from mdcompiler.quantization.scheme import Scheme, find_scheme
from mdcompiler.read_network import Request
from mdcompiler.target import find_target

DATA = Path(os.environ.get("MDC_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
LABELS = ("cat", "dog")
SHAPES = ("mobiledet-cpu-shapes", "mobiledet-edgetpu-shapes")
RIGHT = (1, 0, 0, 1, 1, 0, 1, 0)
"""Classes of image1 to image8."""


@dataclass
class Eyes:
    """A network on this machine, quantized or not, with its post-processing."""

    module: Module
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        head = find_head(self.module)
        assert head is not None
        self.head: DetectorHead = head
        self.probe = Probe(self.module.graph, [head.boxes, head.scores], exact=True)

    def detect(self, path: Path) -> list[Detection]:
        return self.see(to_input(read_picture(path), self.head.height, self.head.width)[0])

    def see(self, picture: NDArray[np.uint8]) -> list[Detection]:
        """Detections in a picture [height, width, 3] of the network's size."""
        image = picture[np.newaxis]
        raw = self.probe.run({self.module.graph.inputs[0].name: image})
        found = postprocess(raw[self.head.boxes], raw[self.head.scores], self.head.anchors, self.head.options)
        return detections_from(found, self.labels)


def catdog_float(data: Path = DATA) -> Module:
    """The real detector, dequantized to float, kernels marked."""
    weights = data / "mobiledet_catdog" / "ssdlite_mobiledet_dog_vs_cat.tflite"
    request = Request("mobiledet-edgetpu", weights, raw=True)
    return Job(request, find_target("cpu")).graph_after("fuse")


def copy(module: Module) -> Module:
    return Module.from_onnx(module.to_onnx(), module.target)


def naive_scheme() -> Scheme:
    return find_scheme("cpu").model_copy(update={"per_channel": False})


def quantize(module: Module, calibration: Path, count: int, naive: bool = False) -> Module:
    """A quantized copy of `module`, by `count` pictures of the folder `calibration`."""
    result = copy(module)
    samples = open_samples(calibration, module, count)
    ours = QuantizeCalibrated(samples, "min-max", scheme=find_scheme("cpu"))
    plain = QuantizeCalibrated(
        samples, "min-max", methods=(), scheme=naive_scheme(), limits=Limits(), compared=2, allow_degraded=True
    )
    (plain if naive else ours).run(result)
    return result


def catdog_points(eyes: Eyes, data: Path = DATA) -> float:
    """mAP over the 17 pictures of coco128 with a cat or a dog: the mean of both halves by their pictures."""
    total = count = 0.0
    for half in ("train2017", "val2017"):
        folder = data / "coco128"
        annotations = read_annotations(folder / f"instances_{half}.json", folder / half, LABELS)
        score = mean_average_precision(annotations, eyes.detect)
        total, count = total + score.all * score.pictures, count + score.pictures
    return total / count


def best(eyes: Eyes, data: Path = DATA) -> list[Detection]:
    """The best detection in each of the eight test pictures."""
    return [eyes.detect(data / "mobiledet_catdog" / f"image{index}.jpg")[0] for index in range(1, 9)]


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
        "naive int8": partial(quantize, original, calibration, 32, naive=True),
        "our int8": partial(quantize, original, calibration, 32),
    }
    wanted = best(Eyes(original, LABELS))
    for name, make in makers.items():
        started = time.perf_counter()
        eyes = Eyes(make(), LABELS)
        spent = time.perf_counter() - started
        found = best(eyes)
        right = sum(item.class_index == index for item, index in zip(found, RIGHT, strict=True))
        yield name, catdog_points(eyes), right, float(np.mean(list(map(overlap, wanted, found)))), spent


def shapes_rows(name: str, scenes: int, calibrated: int = 32) -> Iterator[tuple[str, float, float, float]]:
    """network, mAP and AP50 in points of 100, seconds: a shapes detector over `scenes` held-out scenes."""
    from examples.shapes.accuracy import held_out_scenes, measure
    from examples.shapes.shipped import spec_source, weights_file

    request = Request(spec_source(name), weights_file(name), raw=True)
    original = Job(request, find_target("cpu")).graph_after("fuse")
    size = original.graph.inputs[0].shape[1]
    everything = list(held_out_scenes(scenes + calibrated, size))
    measured, shown = everything[:scenes], everything[scenes:]
    samples = ListedSamples([{"image": scene.image[np.newaxis]} for scene in shown])
    plain = QuantizeCalibrated(samples, "min-max", (), scheme=naive_scheme(), compared=2, allow_degraded=True)
    ours = QuantizeCalibrated(samples, scheme=find_scheme("cpu"), allow_degraded=True)
    for label, item in (("float", None), ("naive int8", plain), ("our int8", ours)):
        started, module = time.perf_counter(), copy(original)
        if item is not None:
            item.run(module)
        spent = time.perf_counter() - started
        found = measure(Eyes(module, ()).see, measured)
        yield label, 100 * found.mean_ap, 100 * found.ap50, spent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--only", choices=("catdog", *SHAPES), help="one detector instead of all")
    arguments = parser.parse_args()
    if DATA.is_dir() and arguments.only in (None, "catdog"):
        print(f"{'cat/dog':12}{'mAP':>8}{'right':>7}{'IoU':>8}{'seconds':>9}")
        for name, points, right, mean, spent in rows():
            print(f"{name:12}{points:8.2f}{right:5}/8{mean:8.3f}{spent:9.1f}", flush=True)
    for detector in SHAPES:
        if arguments.only in (None, detector):
            print(f"{detector}\n{'':12}{'mAP':>8}{'AP50':>8}{'seconds':>9}")
            for name, points, half, spent in shapes_rows(detector, arguments.scenes):
                print(f"{name:12}{points:8.2f}{half:8.2f}{spent:9.1f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

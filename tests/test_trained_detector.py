"""A trained detector, compiled, finds what LiteRT finds with the quantized original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mdcompiler
from mdcompiler.detector import Detector

litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra `tflite`")
CLASSES = {1: 1, 2: 0, 3: 0, 4: 1, 5: 1, 6: 0, 7: 1, 8: 0}
"""Class of the animal on each picture: 0 cat, 1 dog."""


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    found = shared_data / "mobiledet_catdog"
    if not found.is_dir():
        pytest.skip(f"no trained detector at {found}")
    return found


@pytest.fixture(scope="module")
def tflite(folder: Path) -> Path:
    return next(folder.glob("*.tflite"))


@pytest.fixture(scope="module", params=["null", "cpu"])
def detector(request: pytest.FixtureRequest, tflite: Path) -> Detector:
    return mdcompiler.compile("mobiledet-edgetpu", request.param, weights=tflite).load()


@pytest.fixture(scope="module")
def original(tflite: Path) -> Any:
    runner = litert.Interpreter(str(tflite), num_threads=1)
    runner.allocate_tensors()
    return runner


def top_of_original(original: Any, image: Path) -> tuple[np.ndarray, int, float]:
    """Box, class and score of the best detection."""
    (place,) = original.get_input_details()
    with Image.open(image) as picture:
        pixels = np.asarray(picture.convert("RGB").resize((320, 320), Image.Resampling.BILINEAR))
    original.set_tensor(place["index"], pixels[np.newaxis])
    original.invoke()
    boxes, classes, scores = (original.get_tensor(item["index"])[0] for item in original.get_output_details()[:3])
    return boxes[0], int(classes[0]), float(scores[0])


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (first, second)]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize("number", CLASSES)
def test_the_best_detection_is_litert_s(detector: Detector, original: Any, folder: Path, number: int) -> None:
    image = folder / f"image{number}.jpg"
    best = detector.detect(image)[0]
    box, class_index, score = top_of_original(original, image)
    assert best.class_index == class_index == CLASSES[number]
    assert overlap(np.array(best.box), box) >= 0.9
    assert abs(best.score - score) <= 0.1

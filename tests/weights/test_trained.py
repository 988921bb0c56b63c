"""A real trained detector (cats and dogs, quantized) in float against LiteRT's integers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mdcompiler.lower import lower
from mdcompiler.reference import run_reference
from mdcompiler.spec import load_spec
from mdcompiler.spec.anchors import make_anchors
from mdcompiler.spec.build import build_network
from mdcompiler.weights import fit_spec, read_tflite

interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="needs the extra `tflite`")
pytest.importorskip("onnxruntime", reason="the reference evaluator takes minutes for this network")
DOGS = (1, 4, 5, 7)
Array = NDArray[Any]


@pytest.fixture(scope="module")
def trained(shared_data: Path) -> Path:
    path = shared_data / "mobiledet_catdog" / "ssdlite_mobiledet_dog_vs_cat.tflite"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {path.parent}")
    return path


def test_the_file_fits_the_published_spec(trained: Path) -> None:
    fitted = fit_spec(load_spec("mobiledet-edgetpu"), trained)
    assert fitted.changes[0] == "head.classes 90 -> 2"
    found = read_tflite(trained, fitted.spec)
    assert len(found.weights) == 429
    convolutions = 93
    assert sum(name.endswith("/weight") for name in found.quantization) == convolutions
    # 93 convolutions, 15 residual additions, the input, two concatenations, the sigmoid
    assert len(found.quantization) == 3 * convolutions + 15 + 1 + 2 + 1
    assert found.quantization["input/offset"].scale == (1 / 128,)
    assert found.quantization["head/sigmoid"].scale == (1 / 256,)
    # the file keeps its anchors in 8 bits, half a step of 0.00645 from ours
    assert found.anchors is not None
    ours = make_anchors(fitted.spec.head.anchors, build_network(fitted.spec).sizes)
    assert np.abs(found.anchors - ours).max() <= 0.0033


def test_eight_pictures(trained: Path) -> None:
    spec = fit_spec(load_spec("mobiledet-edgetpu"), trained).spec
    model = lower(spec, read_tflite(trained, spec).weights)
    for number in range(1, 9):
        with Image.open(trained.parent / f"image{number}.jpg") as picture:
            image = np.asarray(picture.convert("RGB").resize((320, 320)))[None]
        ours = run_reference(model, {"image": image})
        boxes, classes, scores = _litert(trained, image)
        assert ours["classes"][0, 0] == classes[0, 0] == (number in DOGS), number
        assert abs(float(ours["scores"][0, 0] - scores[0, 0])) <= 0.1, number
        assert _iou(ours["boxes"][0, 0], boxes[0, 0]) >= 0.9, number


def _litert(path: Path, image: Array) -> list[Array]:
    runner = interpreter.Interpreter(str(path), num_threads=1)
    runner.allocate_tensors()
    runner.set_tensor(runner.get_input_details()[0]["index"], image)
    runner.invoke()
    return [runner.get_tensor(output["index"]) for output in runner.get_output_details()[:3]]


def _iou(first: Array, second: Array) -> float:
    top, bottom = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.maximum(bottom - top, 0)))
    return shared / float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - shared)

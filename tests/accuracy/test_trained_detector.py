"""The real cat/dog detector, dequantized and quantized again by us: it must still see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mdcompiler.accuracy.annotated import Eyes
from mdcompiler.quantization.options import Quantize
from tests.benchmarks.quantization import LABELS, RIGHT, best, catdog_float, catdog_points, overlap, quantize


@pytest.mark.slow
def test_the_trained_detector_keeps_its_eyes(shared_data: Path) -> None:
    original = catdog_float(shared_data)
    quantized = quantize(original, Quantize(shared_data / "coco128" / "train2017", samples=32))
    before, after = Eyes(original, LABELS), Eyes(quantized, LABELS)
    wanted, found = best(before, shared_data), best(after, shared_data)
    assert [item.class_index for item in found] == list(RIGHT)
    assert np.mean([overlap(a, b) for a, b in zip(wanted, found, strict=True)]) >= 0.9
    pytest.importorskip("pycocotools", reason="the extra `eval` is not installed")
    assert abs(catdog_points(after, shared_data) - catdog_points(before, shared_data)) <= 1.0

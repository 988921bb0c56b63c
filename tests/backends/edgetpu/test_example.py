"""The program for the device prints what `mdc detect` finds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdcompiler.backends.edgetpu.emit import emit
from mdcompiler.backends.tflite.runnable import TfliteRunnable
from mdcompiler.progress import silent
from tests.backends.edgetpu.detectors import detector, manifest_of, picture, quantized_detector

pytest.importorskip("ai_edge_litert", reason="needs the extra `edgetpu`")
SCRIPT = Path(__file__).resolve().parents[3] / "examples" / "edgetpu" / "detect.py"


def test_it_prints_the_detections(tmp_path: Path) -> None:
    module = quantized_detector(detector())
    emission = emit(module, silent)
    (tmp_path / "model.tflite").write_bytes(emission.files["model.tflite"])
    image = picture(detector())
    Image.fromarray(image["image"][0]).save(tmp_path / "picture.png")
    words = [sys.executable, str(SCRIPT), "model.tflite", "picture.png", "--min-score", "0"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    # the program runs XNNPACK, and prints two digits
    want = TfliteRunnable(tmp_path / "model.tflite", manifest_of(module, emission), 1, "AUTO").run(image)
    lines = done.stdout.splitlines()
    assert len(lines) == int(want["count"][0]) > 0
    for line, number, score in zip(lines, want["classes"][0], want["scores"][0], strict=False):
        name, text, *_ = line.split()
        assert name == ("circle", "square", "star")[int(number)]
        assert float(text) == pytest.approx(score, abs=0.005)
    assert np.all(np.diff(want["scores"][0]) <= 0)

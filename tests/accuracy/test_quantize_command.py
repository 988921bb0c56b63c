"""`mdc quantize SPEC --report` as a table and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mdcompiler.cli.app import run

SMALL = Path(__file__).resolve().parents[2] / "examples" / "specs" / "small.yaml"


def test_the_report_lists_every_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    command = ["quantize", str(SMALL), "--calibration", str(tmp_path), "--report"]
    assert run([*command, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    blocks = [row["block"] for row in data["sensitivity"]]
    assert {"C1/b0.conv", "C3/b0.ibn", "head/l0"} <= set(blocks)
    snr = [row["snr_db"] for row in data["sensitivity"]]
    assert snr == sorted(snr)
    assert data["network"]["samples"] == 1


def test_without_a_picture_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quantize", str(SMALL), "--calibration", str(tmp_path), "--report"]) == 1
    assert "holds no picture" in capsys.readouterr().err

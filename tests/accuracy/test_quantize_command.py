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
    assert data["precision"] == {}
    methods = [row["method"] for row in data["gains"]]
    assert methods == ["equalize-cross-layer", "round-adaptively", "correct-bias", "refine-ranges"]
    assert {"C1/b0.conv", "C3/b0.ibn"} <= set(data["gains"][0]["blocks_db"])
    for before, after in zip(data["gains"], data["gains"][1:], strict=False):
        assert [row[1] for row in before["ends_db"].values()] == [row[0] for row in after["ends_db"].values()]


def test_a_method_can_be_left_out_and_the_tables_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    command = ["quantize", str(SMALL), "--calibration", str(tmp_path), "--report"]
    assert run([*command, "--without", "refine-ranges", "--without", "correct-bias", "--keep-float", "C1/b0.conv"]) == 0
    shown = capsys.readouterr()
    assert "+ round-adaptively" in shown.out
    assert "refine-ranges" not in shown.out
    assert "not int8: C1/b0.conv float" in shown.err
    assert run([*command, "--without", "magic"]) == 1
    assert "the methods are equalize-cross-layer" in capsys.readouterr().err


def test_without_a_picture_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["quantize", str(SMALL), "--calibration", str(tmp_path), "--report"]) == 1
    assert "holds no picture" in capsys.readouterr().err


def test_options_for_int8_need_calibration_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compile", str(SMALL), "-o", str(tmp_path / "out"), "--max-loss", "1", "--wide", "C1/b0.conv"]) == 1
    assert "--max-loss, --wide and without --calibration" in capsys.readouterr().err
    command = ["quantize", str(SMALL), "--calibration", str(tmp_path), "--report"]
    assert run([*command, "--wide", "C1/b0.conv", "--keep-float", "C1/b0.conv"]) == 1
    assert "Choose one of both" in capsys.readouterr().err

"""The verbs latency and lut: what they print and write, and what they refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from mdcompiler.latency import predict, read_table
from mdcompiler.spec import load_spec
from mdcompiler.spec.search_file import load_space
from tests.conftest import Mdc


def test_latency_of_a_network(mdc: Mdc) -> None:
    code, out, err = mdc("latency", "mobiledet-gpu", "--chip", "coral-edgetpu")
    assert code == 0
    assert all(text in out for text in ("C4/b2.fused", "weights that do not fit", "ms in all"))
    assert "mdc: not published: int8.vector_gmacs" in err


def test_latency_as_json(mdc: Mdc) -> None:
    code, out, err = mdc("latency", "mobiledet-edgetpu", "--chip", "pixel4-edgetpu", "--size", "256", "--json")
    assert (code, err) == (0, "")
    data = json.loads(out)
    sized = load_spec("mobiledet-edgetpu").with_(height=256, width_px=256)
    assert data["total_ms"] == predict(sized, "pixel4-edgetpu").total_ms
    assert data["low_ms"] < data["total_ms"] < data["high_ms"]


def test_chips_and_accuracy(mdc: Mdc) -> None:
    code, out, _ = mdc("latency", "--chips")
    assert code == 0
    assert "jetson-xavier-nx" in out
    code, out, _ = mdc("latency", "--accuracy", "--json")
    assert code == 0
    columns = json.loads(out)
    assert all(-1 <= (column["kendall_held_out"] or 0) <= 1 for column in columns)
    assert {"held_out_error", "by_macs_error", "by_mean_error", "parameters", "points"} <= columns[0].keys()
    code, out, _ = mdc("latency", "--accuracy")
    assert code == 0
    assert "held out" in out


def test_table_of_a_network(mdc: Mdc, tmp_path: Path) -> None:
    path = tmp_path / "lut.json"
    code, _, err = mdc("lut", "mobiledet-dsp", "--target", "hexagon-v66", "-o", path)
    assert (code, err) == (0, f"mdc: wrote {path}: 29 blocks, all predicted\n")
    spec = load_spec("mobiledet-dsp")
    assert read_table(path).total_us(spec) == pytest.approx(predict(spec, "pixel4-dsp").total_ms * 1e3)


SPACE = """
name: tiny
template: mobiledet-edgetpu
heights: 64
widths: 64
stem: 8
groups:
  - {stage: C4, stride: 2, channels: [8, 16], most: 1, blocks: [{kind: fused, kernel: [3, 5], expansion: 2}]}
  - {stage: C5, stride: 2, channels: 16, most: 1, blocks: [{kind: ibn, expansion: [2, 4]}]}
"""


@pytest.mark.parametrize("precision", ["fp32", pytest.param("int8", marks=pytest.mark.slow)])
def test_a_space_of_ones_own_is_measured_in_part_and_predicted_from_that(
    mdc: Mdc, tmp_path: Path, precision: str
) -> None:
    space, path = tmp_path / "space.yaml", tmp_path / "lut.jsonl"
    space.write_text(SPACE)
    command = ["lut", space, "--target", "cpu", "--precision", precision, "--runs", "2", "-o", path]
    code, _, err = mdc(*command, "--measure", "3")
    assert code == 0
    assert re.search(r"3 blocks, 3 of them measured, \d+ missing: with 6 measured ones they can be predicted", err)
    code, _, err = mdc(*command, "--measure", "4")
    assert code == 0
    assert re.search(r"\d+ blocks, 7 of them measured, \d+ predicted from those, .* each held out once", err)
    table = read_table(path)
    assert table.head.precision == precision
    assert {row.how for row in table.rows.values()} == {"measured", "predicted"}
    assert all(row.latency_us > 0 for row in table.rows.values())
    assert table.total_us(load_space(str(space)).sample(0)) > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["latency"], "give a network and a chip"),
        (["latency", "mobiledet-cpu", "--chip", "abacus"], "chip 'abacus' is unknown"),
        (["lut", "mobiledet-cpu", "-o", "OUT"], r"give --chip \(`mdc latency --chips`\) or --target"),
        (["lut", "mobiledet-cpu", "--target", "cpu", "-o", "OUT"], "no chip file is of target 'cpu'"),
        (["lut", "mobiledet-cpu", "--chip", "pixel4-dsp", "--measure", "1", "-o", "OUT"], "Give --target"),
        (
            ["lut", "mobiledet-cpu", "--target", "edgetpu", "--measure", "1", "-o", "OUT"],
            "blocks would be measured on this machine, the table predicts int8 on coral-edgetpu",
        ),
        (
            ["lut", "mobiledet-cpu", "--target", "cpu", "--measure", "1", "--precision", "fp16", "-o", "OUT"],
            "blocks are measured in fp32 or int8, and cpu computes in .*; --precision is fp16",
        ),
        (
            ["lut", "mobiledet-edgetpu", "--target", "ethos-u55-256", "--measure", "1", "-o", "OUT"],
            "measuring blocks for ethos-u55-256: nothing here times its kernels",
        ),
        (
            ["lut", "mobiledet-cpu", "--target", "hexagon-v66", "--measure", "1", "-o", "OUT"],
            "blocks would be measured on this machine, the table predicts int8 on pixel4-dsp",
        ),
        (
            ["lut", "mobiledet-edgetpu", "--target", "arm64-android", "--measure", "1", "-o", "OUT"],
            r"measuring blocks for arm64-android: .* (to predict instead|to predict them)\.",
        ),
        (["lut", "none.yaml", "--chip", "pixel4-dsp", "-o", "OUT"], "none.yaml cannot be read"),
        (["lut", "mobiledet-cpu", "--target", "abacus", "-o", "OUT"], "target 'abacus' is unknown"),
    ],
)
def test_refusals(mdc: Mdc, tmp_path: Path, arguments: list[str], message: str) -> None:
    path = tmp_path / "lut.json"
    code, out, err = mdc(*(path if item == "OUT" else item for item in arguments))
    assert (code, out) == (1, "")
    assert re.search(message, err)
    assert not path.exists()

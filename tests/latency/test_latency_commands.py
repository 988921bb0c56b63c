"""The verbs latency and lut: what they print and write, and what they refuse."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mdcompiler.cli import run
from mdcompiler.latency import predict, read_table
from mdcompiler.spec import load_spec

Mdc = Callable[..., tuple[int, str, str]]


@pytest.fixture
def mdc(capfd: pytest.CaptureFixture[str]) -> Mdc:
    def call(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run([str(item) for item in arguments])
        return code, *capfd.readouterr()

    return call


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
    assert (code, err) == (0, f"mdc: wrote {path}: 29 blocks, 0 of them measured, 0 still missing\n")
    spec = load_spec("mobiledet-dsp")
    assert read_table(path).total_us(spec) == pytest.approx(predict(spec, "pixel4-dsp").total_ms * 1e3)


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
            "blocks are measured in fp32 on edgetpu, the table predicts int8 on coral-edgetpu",
        ),
        (["lut", "mobiledet-cpu", "--target", "abacus", "-o", "OUT"], "target 'abacus' is unknown"),
    ],
)
def test_refusals(mdc: Mdc, tmp_path: Path, arguments: list[str], message: str) -> None:
    path = tmp_path / "lut.json"
    code, out, err = mdc(*(path if item == "OUT" else item for item in arguments))
    assert (code, out) == (1, "")
    assert re.search(message, err)
    assert not path.exists()

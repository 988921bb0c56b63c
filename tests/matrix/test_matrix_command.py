"""The verb matrix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdcompiler.backends.arm.machine import why_not_run as why_no_arm
from mdcompiler.backends.hexagon.machine import why_not_run as why_no_hexagon
from mdcompiler.cli import run
from mdcompiler.matrix import Matrix
from mdcompiler.matrix.markdown import BEGIN, END
from mdcompiler.target import find_target
from tests.matrix.matrices import tiny

Capture = pytest.CaptureFixture[str]


def test_text_markdown_and_json(tmp_path: Path, capfd: Capture) -> None:
    command = ["matrix", tiny(tmp_path), "--targets", "null, nochip", "--raw", "-o", str(tmp_path / "out")]
    assert run(command) == 0, "a pair that is refused is no failure of the command"
    text, told = capfd.readouterr()
    assert "null    fp32" in text
    assert "nochip: target 'nochip' is unknown" in text
    assert "tiny for null …" in told
    assert (tmp_path / "out" / "matrix.html").is_file()
    assert run([*command, "--markdown"]) == 0
    table = capfd.readouterr().out
    assert table.startswith("| | tiny |\n|---|---|\n| `null` | ")
    readme = tmp_path / "README.md"
    readme.write_text(f"{BEGIN}\n{END}\n")
    assert run([*command, "--into", str(readme)]) == 0
    assert readme.read_text() == f"{BEGIN}\n\n{table}\n{END}\n"
    capfd.readouterr()
    assert run([*command, "--json"]) == 0
    assert len(Matrix.model_validate(json.loads(capfd.readouterr().out)).pairs) == 2


def test_a_file_without_a_place_is_refused_before_anything_is_compiled(tmp_path: Path, capfd: Capture) -> None:
    command = ["matrix", tiny(tmp_path), "--targets", "null", "-o", str(tmp_path / "out"), "--into"]
    assert run([*command, str(tmp_path / "none.md")]) == 1
    assert "none.md: it cannot be read" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_bad_option_is_one_message(tmp_path: Path, capfd: Capture) -> None:
    command = ["matrix", tiny(tmp_path), "--targets", "null", "--precision", "fp8", "-o", str(tmp_path / "out")]
    assert run(command) == 1
    assert capfd.readouterr().err.startswith("mdc: making a matrix in precision 'fp8'")


reason = why_no_arm(find_target("arm64")) or why_no_hexagon()


@pytest.mark.slow
@pytest.mark.skipif(bool(reason), reason=reason or "never")
def test_four_targets_agree_with_the_reference(tmp_path: Path, capfd: Capture) -> None:
    """A detector with its post-processing, native, in two emulators and in LiteRT."""
    targets = "cpu,arm64,hexagon-v66,edgetpu"
    command = ["matrix", "mobiledet-edgetpu", "--targets", targets, "--size", "64", "--width", "0.25"]
    assert run([*command, "--precision", "int8", "-o", str(tmp_path / "out"), "--json"]) == 0
    rows = Matrix.model_validate(json.loads(capfd.readouterr().out)).pairs
    assert [(row.target, row.verdict, row.reason, row.steps) for row in rows] == [
        (target, "bit for bit", "", 0) for target in targets.split(",")
    ]
    assert [row.unit for row in rows] == ["ms", "instructions", "packets", ""]
    for row in rows[:3]:
        convolutions = [block for block in row.blocks if block.macs]
        assert len(convolutions) > 20
        assert all(block.cost and block.precision == "int8" for block in convolutions)
    assert rows[3].blocks[-1].fallbacks, "the post-processing is the host's"

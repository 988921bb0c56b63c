"""The Raspberry Pi example's commands, those of the PC here and those of the Pi in QEMU."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import mdcompiler
from mdcompiler.backends.arm.machine import launcher
from mdcompiler.target import find_target
from tests.backends.arm.emulated import needs_emulator

pytestmark = needs_emulator
ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "examples" / "raspberry_pi" / "README.md").read_text()
PROGRAMS = {"mdc": [str(Path(sys.executable).with_name("mdc"))], "python": [sys.executable]}
LIBRARIES = Path(os.environ.get("QEMU_LD_PREFIX") or "/usr/aarch64-linux-gnu")
"""An Arm system's glibc, for programs that are not static: Debian's libc6-arm64-cross, unless QEMU is told another."""
FLOAT, INT8 = README.split("## int8")


def commands(text: str) -> list[list[str]]:
    """The words of every command in order, those of the Pi with the emulator before them."""
    found = []
    for language, block in re.findall(r"^```(sh|pi)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line)
            emulator = [*launcher(find_target("cortex-a76")), "-L", str(LIBRARIES)]
            found.append([*emulator, *words] if language == "pi" else [*PROGRAMS.get(words[0], words[:1]), *words[1:]])
    return found


def run(words: list[str], folder: Path) -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{shlex.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the repository's root to the commands."""
    folder = tmp_path_factory.mktemp("pi")
    (folder / "examples").symlink_to(ROOT / "examples")
    return folder


@pytest.mark.skipif(
    not (LIBRARIES / "lib" / "ld-linux-aarch64.so.1").exists(),
    reason=f"no glibc for Arm in {LIBRARIES}: apt-get install libc6-arm64-cross, or set QEMU_LD_PREFIX",
)
def test_float_commands_run_and_agree(place: Path) -> None:
    texts = {words[-1] if "-o" not in words else words[0]: run(words, place) for words in commands(FLOAT)}
    with mdcompiler.load(place / "out" / "pi") as detector:
        found = detector.detect(place / "out" / "scene.png")
    assert found
    program = texts["out/scene.rgb"]
    assert f"out/scene.rgb: {len(program.splitlines()) - 1} found" in program
    assert [f"{item.score:.3f}" for item in found] == re.findall(r"score (\d\.\d+)", program)[: len(found)]


@pytest.mark.slow
def test_int8_commands_run(place: Path) -> None:
    drawn = [words for words in commands(FLOAT) if "out/scene.png" in " ".join(words) and "detect" not in words]
    texts = [run(words, place) for words in [*drawn, *commands(INT8)]]
    assert " ms" in texts[-1]

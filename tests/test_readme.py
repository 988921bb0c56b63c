"""The README's commands and programs run, in its order, with a small network in place of the zoo's."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.c_compiler import compilers

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()

# What stands in the README, and what is run for it: the same with a network that compiles in seconds.
SMALLER = {"mobiledet-cpu": "examples/specs/small.yaml", "320x320": "96x96"}
PROGRAMS = {"mdc": [str(Path(sys.executable).with_name("mdc"))], "python": [sys.executable], "cc": compilers()[0]}
MAKE = "make"


def blocks() -> Iterator[tuple[str, str]]:
    """(language, text) of every fenced block."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every line of the shell blocks, as words."""
    lines = [line for language, text in blocks() if language == "sh" for line in text.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def _run(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, env=dict(os.environ), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{shlex.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"


def _smaller(text: str) -> str:
    for written, used in SMALLER.items():
        text = text.replace(written, used)
    return text


@pytest.mark.slow
def test_every_command_and_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.setenv("MDC_RECORDS", str(tmp_path / "records.jsonl"))
    for words in commands():
        if words[0] == MAKE:
            continue
        program, *arguments = [_smaller(word) for word in words]
        _run([*PROGRAMS.get(program, [program]), *arguments], tmp_path)
    for language, text in blocks():
        if language == "python":
            _run([sys.executable, "-c", _smaller(text)], tmp_path)
    assert (tmp_path / "out" / "model.so").is_file()
    assert list((tmp_path / "boxes").iterdir())


def test_make_targets_exist() -> None:
    if not (ROOT / "Makefile").is_file():
        pytest.skip("needs the checkout")
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {word for words in commands() if words[0] == MAKE for word in words[1:]}
    assert {"demo", "test"} <= named <= known


def test_first_commands_are_demo_and_test() -> None:
    assert commands()[:2] == [["make", "demo"], ["make", "test"]]


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:examples|passes|mdcompiler|docs)/[\w./]+)`", README))))
def test_named_file_exists(path: str) -> None:
    if not (ROOT / "mdcompiler").is_dir():
        pytest.skip("needs the checkout")
    assert (ROOT / path).exists()


def test_environment_table_is_complete() -> None:
    if not (ROOT / "mdcompiler").is_dir():
        pytest.skip("needs the checkout")
    folders = (ROOT / name for name in ("mdcompiler", "passes", "backends"))
    sources = [path.read_text() for folder in folders for path in folder.rglob("*.py")]
    pattern = r"environ(?:\.get\(|\[)\s*\"(MDC_[A-Z_]+)\"|_level\(\"(MDC_[A-Z_]+)\""
    read = {name for text in sources for pair in re.findall(pattern, text) for name in pair if name}
    assert read
    assert read <= set(re.findall(r"^\| `(MDC_[A-Z_]+)` \|", README, re.MULTILINE))

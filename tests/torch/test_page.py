"""docs/torch.md: its programs and commands run, in order, with a small spec and without TVM."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from mdcompiler.spec import load_spec, weight_shapes
from mdcompiler.weights.torch_names import PARTS
from tests.conftest import Mdc

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "torch.md").read_text()
SMALL = str(ROOT / "examples" / "specs" / "small.yaml")

pytest.importorskip("torch", reason="needs the extra `train`")


def test_everything_on_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mdc: Mdc) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {}
    for language, text in re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        text = text.replace("mobiledet-cpu", SMALL).replace("--target cpu", "--target null")
        if language == "python":
            exec(compile(text, "docs/torch.md", "exec"), space)  # noqa: S102 - it is our own page
            continue
        for line in text.splitlines():
            program, *words = shlex.split(line)
            assert program == "mdc"
            code, _, error = mdc(*words)
            assert code == 0, f"{line}\n{error}"
    assert (tmp_path / "out" / "network-int8" / "manifest.json").is_file()


def test_named_paths_and_parts_exist() -> None:
    names = set(weight_shapes(load_spec("mobiledet-cpu")))
    shown = re.findall(r"`((?:C\d|extra|head)/[\w/.]+)`", PAGE)
    assert len(shown) >= 5
    assert all(f"{path}/weight" in names for path in shown)
    assert all(f"<path>/{ours}" in PAGE and f"<path>.{theirs}" in PAGE for ours, theirs in PARTS.items())
    assert all((ROOT / path).is_file() for path in re.findall(r"`(examples/[\w/]+\.py)`", PAGE))

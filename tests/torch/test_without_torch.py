"""Where torch is missing: one sentence that says what to install; and nobody else asks for it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mdcompiler
from mdcompiler.weights.torch_names import PARTS, state_name, weight_name

PACKAGE = Path(mdcompiler.__file__).parent
WITHOUT = "import sys; sys.modules['torch'] = None\n"
SENTENCE = "pip install 'mdcompiler[train]'"


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WITHOUT + program], capture_output=True, text=True, check=False)


def test_the_bridge_names_the_extra() -> None:
    done = run("import mdcompiler.torch")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("mdcompiler.errors.MissingToolError: importing mdcompiler.torch")
    assert SENTENCE in done.stderr.splitlines()[-1]


def test_a_pth_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"any")
    program = f"from mdcompiler.cli import run; run(['lower', 'mobiledet-cpu', '--weights', {str(tmp_path / 'w.pth')!r}"
    done = run(f"{program}, '-o', {str(tmp_path / 'out.onnx')!r}])")
    text = " ".join(done.stderr.split())
    assert SENTENCE in text
    assert "Traceback" not in text


@pytest.mark.parametrize("folder", ["", "passes", "backends"])
def test_only_the_bridge_imports_torch(folder: str) -> None:
    allowed = {PACKAGE / "weights" / "pth_file.py"}
    for path in sorted((PACKAGE / folder).rglob("*.py")):
        if path in allowed or PACKAGE / "torch" in path.parents:
            continue
        names = [name for node in ast.walk(ast.parse(path.read_text())) for name in _imported(node)]
        assert not [name for name in names if name.split(".")[0] == "torch"], path


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [item.name for item in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []


def test_names_need_no_torch() -> None:
    assert {weight_name(state_name(f"C4/b2.ibn/dw/{part}")) for part in PARTS} == {f"C4/b2.ibn/dw/{p}" for p in PARTS}
    assert weight_name("C1/b0.conv/conv.bn.num_batches_tracked") == ""

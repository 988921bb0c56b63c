"""Google's compiler, played by a script: found on PATH, run, its log read, its failures told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mdcompiler.backends.edgetpu.compiler import COMPILED_FILE, find_compiler
from mdcompiler.backends.edgetpu.compiler_log import parse_log
from mdcompiler.backends.edgetpu.emit import emit
from mdcompiler.errors import UnsupportedError
from mdcompiler.progress import silent
from tests.backends.edgetpu.detectors import detector, quantized_detector

pytest.importorskip("ai_edge_litert", reason="needs the extra `edgetpu`")

UNSPECIFIED = "Operation is otherwise supported, but not mapped due to some unspecified limitation"
HEAD = """Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 542 ms.

Input model: model.tflite
Input size: 4.04MiB
Output model: model_edgetpu.tflite
Output size: 4.13MiB
On-chip memory used for caching model parameters: 604.50KiB
On-chip memory remaining for caching model parameters: 511.50KiB
Off-chip memory used for streaming uncached model parameters: 3.45MiB
Number of Edge TPU subgraphs: 1
Total number of operations: 3
Operation log: model_edgetpu.log
"""
TABLE = f"""
Operator                       Count      Status

QUANTIZE                       1          {UNSPECIFIED}
CONV_2D                        66         Mapped to Edge TPU
CUSTOM                         1          Operation is working on an unsupported data type
"""
TAIL = "Compilation child process completed within timeout period.\nCompilation succeeded! \n"
ROWS = (
    ("CONV_2D", 66, "Mapped to Edge TPU"),
    ("CUSTOM", 1, "Operation is working on an unsupported data type"),
    ("QUANTIZE", 1, UNSPECIFIED),
)


def install(
    folder: Path, monkeypatch: pytest.MonkeyPatch, words: str, log: str = "", code: int = 0, writes: bool = True
) -> None:
    """Put an `edgetpu_compiler` on PATH that says `words`, writes `log`, and ends with `code`."""
    script = folder / "edgetpu_compiler"
    script.write_text(
        f"""#!{sys.executable}
import pathlib, sys
show, flag, out, model = sys.argv[1:]
assert (show, flag) == ("-s", "-o"), sys.argv
assert pathlib.Path(model).read_bytes()[4:8] == b"TFL3"
if {writes}:
    pathlib.Path(out, "model_edgetpu.tflite").write_bytes(b"compiled")
    pathlib.Path(out, "model_edgetpu.log").write_text({log!r})
print({words!r})
sys.exit({code})
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(("words", "log"), [(HEAD + TABLE + TAIL, ""), (HEAD + TAIL, TABLE)])
def test_the_compiler_is_run_and_its_word_is_kept(
    words: str, log: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, words, log)
    emission = emit(quantized_detector(detector(), raw=True), silent)
    assert emission.files[COMPILED_FILE] == b"compiled"
    assert emission.files["model.tflite"][4:8] == b"TFL3"
    assert emission.facts["compiler"] == {
        "program": "edgetpu_compiler",
        "version": "16.0.384591198",
        "operators": [list(row) for row in ROWS],
        "memory": {"resident_bytes": 619008, "free_bytes": 523776, "streamed_bytes": 3617587},
    }


def test_without_the_compiler_the_mapping_is_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler() is None
    emission = emit(quantized_detector(detector(), raw=True), silent)
    assert set(emission.files) == {"model.tflite"}
    assert "compiler" not in emission.facts
    assert {status for _, _, status in emission.facts["mapping"]} == {"Mapped to Edge TPU"}


@pytest.mark.parametrize(
    ("words", "code", "writes", "said"),
    [
        (
            "Compilation failed: Model not quantized",
            1,
            False,
            r"it ended with 1: Compilation failed: Model not quantized",
        ),
        ("Internal compiler error. Aborting!", 0, False, r"it wrote no file: Internal compiler error"),
    ],
)
def test_its_failure_is_told(
    words: str, code: int, writes: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, words, code=code, writes=writes)
    with pytest.raises(UnsupportedError, match=said):
        emit(quantized_detector(detector(), raw=True), silent)


def test_log_lines_that_say_nothing_are_passed_over() -> None:
    assert parse_log("nothing\n").rows == ()
    log = parse_log(HEAD + TABLE + TAIL)
    assert (log.version, log.rows, log.mapped) == ("16.0.384591198", ROWS, 66)

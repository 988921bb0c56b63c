"""A vendor's compiler as a program: its words, or why it made nothing."""

from __future__ import annotations

import sys

import pytest

from mdcompiler.backends.tflite import device_compiler
from mdcompiler.backends.tflite.device_compiler import DeviceCompiler
from mdcompiler.errors import UnsupportedError

COMPILER = DeviceCompiler("compiling for a chip", "Change the network.")


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_what_it_prints_is_kept() -> None:
    words = COMPILER.run(python("import sys; print('one', flush=True); print('two', file=sys.stderr)"))
    assert words == "one\ntwo\n"


def test_its_last_words_are_told() -> None:
    with pytest.raises(UnsupportedError, match=r"^compiling for a chip: it ended with 3: x{1999}\. Change"):
        COMPILER.run(python("import sys; print('x' * 5000); sys.exit(3)"))
    with pytest.raises(UnsupportedError, match=r"compiling for a chip: it ended with 3\. Change the network\."):
        COMPILER.run(python("import sys; sys.exit(3)"))


def test_one_that_does_not_start_or_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnsupportedError, match=r"compiling for a chip: .*No such file.* Change the network\."):
        COMPILER.run(["/no/such/program"])
    monkeypatch.setattr(device_compiler, "_LIMIT_SECONDS", 0.2)
    with pytest.raises(UnsupportedError, match=r"compiling for a chip: .* timed out after 0\.2 seconds\. Change"):
        COMPILER.run(python("import time; time.sleep(60)"))

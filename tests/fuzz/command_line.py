"""`mdc` in this process: its exit code and what it printed."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from pathlib import Path

from mdcompiler.cli import run
from tests.fuzz.outcome import Outcome

_REPORT = re.compile(r"Please send (\S+?\.txt)")
_FRAME = re.compile(r'File "[^"]*/(?:mdcompiler|passes|backends)/([^"]+)", line \d+, in (\S+)')


def mdc(*arguments: object) -> Outcome:
    """The outcome of `mdc ARGUMENTS`: done, refused (exit 1 and 2), internal (3) or foreign (a traceback)."""
    code, text = run_mdc([str(item) for item in arguments])
    if code == 0:
        return Outcome("done")
    if code == 3:
        report = _report(text)
        return Outcome("internal", f"{text}\n{report}", last_frame(report))
    if "Traceback (most recent call last)" in text or code not in (1, 2):
        return Outcome("foreign", f"exit {code}: {text}", last_frame(text))
    if text.startswith("mdc: not enough memory"):
        return Outcome("memory", text)
    return Outcome("refused", text)


def run_mdc(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code of `mdc` with these arguments, and its stderr."""
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        code = run(arguments)
    return code, said.getvalue().strip()


def last_frame(text: str) -> str:
    """The last frame of the toolkit in a printed traceback, as `file:function`."""
    frames = _FRAME.findall(text)
    return f"{frames[-1][0].rsplit('/', 1)[-1]}:{frames[-1][1]}" if frames else ""


def _report(text: str) -> str:
    found = _REPORT.search(text)
    if found is None or not Path(found[1]).is_file():
        return ""
    report = Path(found[1])
    written = report.read_text(errors="replace")
    report.unlink()
    return written[-3000:]

"""Runs cases in a child process that may die, hang or grow, and says for each what became of it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.fuzz.command_line import last_frame
from tests.fuzz.outcome import Outcome
from tests.fuzz.worker import MOST_SECONDS

_START_SECONDS = 120
_MOST_CASES = 2000
"""A child is replaced after so many cases: what leaks over thousands of compilations is no single case's fault."""

_TAIL = 3000


class Farm:
    """One child at a time. Use it as a context manager."""

    def __init__(self, suite: str, options: dict[str, Any], seconds: int = MOST_SECONDS) -> None:
        self._command = [sys.executable, "-m", "tests.fuzz.worker", suite, json.dumps(options)]
        self._seconds = seconds
        self._folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self._log = self._folder / "stderr"
        self._child: subprocess.Popen[bytes] | None = None
        self._cases = 0

    def __enter__(self) -> Farm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def run_all(self, cases: Iterable[str]) -> Iterator[tuple[str, Outcome, float]]:
        """Each case with its outcome and seconds, in order."""
        for case in cases:
            started = time.perf_counter()
            yield case, self.run(case), time.perf_counter() - started

    def run(self, case: str) -> Outcome:
        """The outcome of one case."""
        child = self._ready()
        assert child.stdin is not None, "it was opened with pipes"
        try:
            child.stdin.write(case.encode() + b"\n")
            child.stdin.flush()
            answer = self._line(child, self._seconds)
        except BrokenPipeError:
            answer = b""
        if answer:
            return Outcome(**json.loads(answer))
        return self._death(child, hung=answer is None)

    def _death(self, child: subprocess.Popen[bytes], hung: bool) -> Outcome:
        if hung:
            self._stop()
            text = self._said()
            return Outcome("hang", f"more than {self._seconds} s\n{text}", last_frame(text))
        code = child.wait()
        self._stop()
        name = signal.Signals(-code).name if code < 0 else f"exit {code}"
        text = self._said()
        return Outcome("signal", f"{name}\n{text}", f"{name} {last_frame(text)}")

    def _ready(self) -> subprocess.Popen[bytes]:
        self._cases += 1
        if self._cases > _MOST_CASES:
            self._stop()
        if self._child is None:
            self._cases = 0
            self._child = self._start()
        return self._child

    def _start(self) -> subprocess.Popen[bytes]:
        scratch = self._folder / "scratch"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        with self._log.open("wb") as log:
            child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                env={**os.environ, "TMPDIR": str(scratch), "OMP_NUM_THREADS": "1"},
            )
        if self._line(child, _START_SECONDS) != b"ready\n":
            child.kill()
            raise RuntimeError(f"the child did not start: {self._said()}")
        return child

    @staticmethod
    def _line(child: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        """The next line of the child; empty when it is dead, None when it takes too long."""
        assert child.stdout is not None, "it was opened with pipes"
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        return child.stdout.readline()

    def _stop(self) -> None:
        if self._child is None:
            return
        child, self._child = self._child, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)  # with what it started: compilers, tools
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()

    def _said(self) -> str:
        return self._log.read_bytes()[-_TAIL:].decode(errors="replace")

"""A child process that answers messages, and that may die or hang: then it is replaced.

Children are started by module name and speak the messages of `compile_worker`.
"""

from __future__ import annotations

import os
import selectors
import struct
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import IO

_LENGTH = struct.Struct("<Q")
_TOLD_BYTES = 2000


class ChildDied(Exception):  # noqa: N818 - it is no error: a candidate may do this
    """The child ended or did not answer in time; the message says which, with its last words."""


class Child:
    """One process at a time, started when it is needed."""

    def __init__(self, module: str, *arguments: str) -> None:
        self._command = [sys.executable, "-m", module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._words: IO[bytes] | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def send(self, message: bytes) -> None:
        """Send one message. Raises ChildDied."""
        process = self._running()
        assert process.stdin is not None
        try:
            rest = memoryview(_LENGTH.pack(len(message)) + message)
            while rest:
                rest = rest[os.write(process.stdin.fileno(), rest) :]
        except OSError as error:
            raise ChildDied(self._end()) from error

    def receive(self, seconds: float) -> bytes:
        """The next answer. Raises ChildDied when there is none within `seconds`."""
        deadline = time.monotonic() + seconds
        size = _LENGTH.unpack(self._read(_LENGTH.size, deadline))[0]
        return self._read(size, deadline)

    def stop(self) -> None:
        """End the process, if one runs."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._words is not None:
            self._words.close()
            self._words = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            pipe = subprocess.PIPE
            self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=self._words, bufsize=0)
        return self._process

    def _read(self, size: int, deadline: float) -> bytes:
        process = self._running()
        assert process.stdout is not None
        data = b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while len(data) < size:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.stop()
                    raise ChildDied("it did not answer in time")
                part = os.read(process.stdout.fileno(), size - len(data))
                if not part:
                    raise ChildDied(self._end())
                data += part
        return data

    def _end(self) -> str:
        """How the process ended, with its last line."""
        assert self._process is not None
        assert self._words is not None
        code = self._process.wait()
        self._words.seek(0)
        words = self._words.read()[-_TOLD_BYTES:].decode(errors="replace").strip()
        self.stop()
        return f"the process ended with status {code}" + (f": {words.splitlines()[-1]}" if words else "")

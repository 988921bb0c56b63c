"""A machine's own compiler of `.tflite` files, run as a program: what it says, or why it made nothing."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from mdcompiler.errors import UnsupportedError

_LIMIT_SECONDS = 600
_TOLD_CHARACTERS = 2000


@dataclass(frozen=True)
class DeviceCompiler:
    """doing: how errors begin, `compiling for …`. advice: how they end."""

    doing: str
    advice: str

    def run(self, command: Sequence[str]) -> str:
        """All that it prints. Raises UnsupportedError when it does not start, end in time or succeed."""
        try:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_LIMIT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self.failure(str(error)) from error
        words = done.stdout.decode(errors="replace")
        if done.returncode:
            raise self.failure(f"it ended with {done.returncode}", words)
        return words

    def failure(self, what: str, words: str = "") -> UnsupportedError:
        """What went wrong, with the compiler's last words."""
        told = f": {words[-_TOLD_CHARACTERS:].strip()}" if words.strip() else ""
        return UnsupportedError(f"{self.doing}: {what}{told}. {self.advice}")

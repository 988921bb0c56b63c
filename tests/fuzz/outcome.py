"""What became of one case."""

from __future__ import annotations

import json
import traceback
from dataclasses import asdict, dataclass

from mdcompiler.errors import InternalError, MdcError

FAILURES = ("internal", "foreign", "signal", "hang", "memory", "wrong")
"""An internal error, an exception that is no `MdcError`, a dead process, more than the seconds or the bytes that a
case may take, and numbers that are not the arbiter's."""

_MOST_TEXT = 4000
_FRAMES = 6


@dataclass(frozen=True)
class Outcome:
    """verdict: done, right, refused or one of FAILURES. text: the refusal, or what went wrong. where: the last frame
    of the toolkit in a traceback; two failures of one verdict and one place are taken for the same fault."""

    verdict: str
    text: str = ""
    where: str = ""

    @property
    def failed(self) -> bool:
        return self.verdict in FAILURES

    @property
    def fault(self) -> tuple[str, str]:
        """What tells this failure from others."""
        return self.verdict, self.where

    def as_json(self) -> str:
        return json.dumps({**asdict(self), "text": self.text[:_MOST_TEXT]})


def of_exception(error: BaseException) -> Outcome:
    """The outcome of a call into the toolkit that raised `error`."""
    if isinstance(error, MdcError):
        return Outcome("refused", str(error))
    verdict = "internal" if isinstance(error, InternalError) else "memory" if _is_memory(error) else "foreign"
    frames = traceback.extract_tb(_first(error).__traceback__)
    tail = "".join(traceback.format_list(frames[-_FRAMES:]))
    return Outcome(verdict, f"{type(error).__name__}: {error}\n{tail}", place(frames))


def place(frames: traceback.StackSummary) -> str:
    """The last frame of the toolkit, as `file:function`."""
    own = [
        frame for frame in frames if any(part in frame.filename for part in ("/mdcompiler/", "/passes/", "/backends/"))
    ]
    own = [frame for frame in own if "site-packages" not in frame.filename]
    return f"{own[-1].filename.rsplit('/', 2)[-1]}:{own[-1].name}" if own else ""


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError)


def _first(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error

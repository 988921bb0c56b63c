"""A child that runs cases: names of cases come in over stdin, a line of JSON each goes out.

    python -m tests.fuzz.worker SUITE OPTIONS-AS-JSON

A case may end the process, so the parent (`tests.fuzz.farm`) starts another and knows which case it was.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from tests.fuzz.outcome import Outcome, of_exception

MOST_SECONDS = 60
MOST_BYTES = 2 << 30
_ADDRESSES_BYTES = 64 << 30
"""Bound of the address space: what a runaway allocation meets before the machine does."""


class Suite(Protocol):
    """What a kind of case is."""

    def run(self, case: str, folder: Path) -> Outcome:
        """The outcome of `case`, which may write into `folder`."""
        ...


def run_case(suite: Suite, case: str) -> Outcome:
    """Run one case in a folder of its own; an exception or too many bytes are an outcome as well."""
    folder = Path(tempfile.mkdtemp(prefix="case-"))
    before = _peak_bytes(fresh=True)
    try:
        outcome = suite.run(case, folder)
    except Exception as error:  # what a case raises is what is looked for
        outcome = of_exception(error)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    used = _peak_bytes() - before
    if used > MOST_BYTES and not outcome.failed:
        return Outcome("memory", f"{used >> 20} MiB; {outcome.verdict}: {outcome.text}")
    return outcome


def _peak_bytes(fresh: bool = False) -> int:
    """The most memory this process has held; fresh: from now on."""
    if fresh:
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main(arguments: list[str]) -> None:
    """Answer cases until stdin ends."""
    from tests.fuzz.suites import open_suite

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a case prints is not an answer
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES_BYTES, _ADDRESSES_BYTES))
    suite = open_suite(arguments[0], json.loads(arguments[1]))
    answers.write("ready\n")
    for line in sys.stdin:
        faulthandler.dump_traceback_later(MOST_SECONDS - 2)
        outcome = run_case(suite, line.rstrip("\n"))
        faulthandler.cancel_dump_traceback_later()
        answers.write(outcome.as_json() + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])

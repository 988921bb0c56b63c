"""TVM's child process as a fork of this one, which has imported TVM once: the same code, two seconds sooner.

What runs in it and that it may die stay as they are; for suites that compile thousands of small networks.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path

from mdcompiler.backends.legalize import run_child


def fork_compilers() -> None:
    """From now on legalisation forks this process."""
    import mdcompiler.backends.legalize.worker  # noqa: F401 - TVM, imported before the fork

    run_child._run_child = _run_forked


def _run_forked(root: Path, worker: str, seconds: int) -> str:
    child = os.fork()
    if not child:
        _answer(root)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return f"was ended by {signal.Signals(-code).name}" if code < 0 else "gave no answer"
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return f"had not ended after {seconds} s"


def _answer(root: Path) -> None:
    from mdcompiler.backends.legalize.worker import main

    try:
        main(root)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)

"""How many processes compile at once when the user does not say."""

from __future__ import annotations

import os


def compile_processes() -> int:
    """`MDC_PROCESSES`, where it is a number above 0, else the processors that this process may run on."""
    chosen = os.environ.get("MDC_PROCESSES", "")
    if chosen.isdigit() and int(chosen):
        return int(chosen)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

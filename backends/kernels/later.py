"""TVM's TIR, imported when it is first used.

Workloads and schedules are data: what only chooses among them, or finds all kernels in the cache, need not wait
a second for a compiler it never calls.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


class _Later:
    def __getattr__(self, name: str) -> Any:
        return getattr(import_module("tvm.tirx"), name)


tirx: Any = _Later()

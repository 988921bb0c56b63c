"""What edgetpu_compiler says, read into numbers.

Edge TPU Compiler version 16.0.384591198
…
On-chip memory used for caching model parameters: 3.32MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
…
Operator                       Count      Status

CONV_2D                        66         Mapped to Edge TPU
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from mdcompiler.backends.edgetpu.mapping import Row
from mdcompiler.backends.edgetpu.status import MAPPED

_VERSION = re.compile(r"^Edge TPU Compiler version (\S+)$", re.MULTILINE)
_SIZE = re.compile(r"^(On-chip|Off-chip) memory (used|remaining) for [^:\n]+: ([\d.]+)(B|KiB|MiB|GiB)$", re.MULTILINE)
_ROW = re.compile(r"^([A-Z][A-Z0-9_]*) +(\d+) +(\S.*?) *$", re.MULTILINE)
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MEANINGS = {
    ("On-chip", "used"): "resident_bytes",
    ("On-chip", "remaining"): "free_bytes",
    ("Off-chip", "used"): "streamed_bytes",
}
_HEADING = "Operator"


@dataclass(frozen=True)
class CompilerLog:
    """version: of the compiler, "" when it does not say. rows: its table, sorted. memory: bytes, see `_MEANINGS`."""

    version: str
    rows: tuple[Row, ...]
    memory: dict[str, int] = field(default_factory=dict)

    @property
    def mapped(self) -> int:
        """How many operators run on the chip."""
        return sum(count for _, count, status in self.rows if status == MAPPED)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return {"version": self.version, "operators": [list(row) for row in self.rows], "memory": dict(self.memory)}


def parse_log(text: str) -> CompilerLog:
    """The compiler's output or its log file. Lines that say nothing known are passed over."""
    version = _VERSION.search(text)
    memory = {
        _MEANINGS[place, use]: round(float(number) * _UNITS[unit])
        for place, use, number, unit in _SIZE.findall(text)
        if (place, use) in _MEANINGS
    }
    _, _, rows = text.partition(f"\n{_HEADING} ")
    table = tuple(sorted((kind, int(count), status) for kind, count, status in _ROW.findall(rows)))
    return CompilerLog(version.group(1) if version else "", table, memory)

"""The result of calibration: the real interval that each tensor's integers have to cover."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from mdcompiler.errors import InputError
from mdcompiler.foreign import read_file, refusing
from mdcompiler.strict_json import parse_json
from mdcompiler.write_aside import write_file

Ranges = dict[str, tuple[float, float]]
"""Tensor name -> (low, high), low <= high, both finite."""

_FORMAT = 1
_BYTE_LIMIT = 16 << 20


def save_ranges(path: Path, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Write `ranges` as JSON. Raises OutputError where that is not possible."""
    table = {name: [low, high] for name, (low, high) in sorted(ranges.items())}
    write_file(path, (json.dumps({"mdc_ranges": _FORMAT, "ranges": table}, indent=1) + "\n").encode())


def load_ranges(path: Path) -> Ranges:
    """Read what `save_ranges` wrote. Raises InputError for anything else."""
    with refusing(f"reading ranges from {path}", InputError, "Calibrate again."):
        data = parse_json(read_file(path, _BYTE_LIMIT))
        if not isinstance(data, dict) or data.get("mdc_ranges") != _FORMAT or not isinstance(data.get("ranges"), dict):
            raise ValueError(f"it is no table of ranges of format {_FORMAT}")
        return {str(name): _range(name, value) for name, value in data["ranges"].items()}


def _range(name: str, value: object) -> tuple[float, float]:
    if isinstance(value, list) and len(value) == 2 and all(type(edge) in (int, float) for edge in value):
        low, high = float(value[0]), float(value[1])
        if math.isfinite(low) and math.isfinite(high) and low <= high:
            return low, high
    raise ValueError(f"the range of {name} is {value}; two finite numbers, the smaller first, are allowed")

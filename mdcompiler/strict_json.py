"""JSON from outside, as data that nothing later stumbles over.

Python's reader takes more than JSON has and than the toolkit can use: NaN, 1e400 (infinite), whole numbers of
thousands of digits, keys given twice, half a character (`\\ud800`), which no file can hold. All that is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from mdcompiler.foreign import shortened

_MOST_DIGITS = 30
_MOST_DEPTH = 64
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(data: bytes | str) -> Any:
    """The value that `data` (UTF-8) says. Any exception may leave it, mostly ValueError: see `mdcompiler.foreign`."""
    text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    value = json.loads(
        text, parse_constant=_constant, parse_int=_whole, parse_float=_real, object_pairs_hook=_without_twins
    )
    _check_depth(value)
    if _HALF_CHARACTER.search(text):
        json.dumps(value, ensure_ascii=False).encode()  # raises for a half without its other
    return value


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is no number that JSON has")


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"a number has {len(text)} digits; at most {_MOST_DIGITS} are read")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{shortened(text, 40)} is larger than any number")
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twin = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shortened(twin, 80)!r} is given twice")
    return found


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(_MOST_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise ValueError(f"it is nested more than {_MOST_DEPTH} deep")


def _children(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return [child for child in item.values() if isinstance(child, dict | list)]
    return [child for child in item if isinstance(child, dict | list)] if isinstance(item, list) else ()

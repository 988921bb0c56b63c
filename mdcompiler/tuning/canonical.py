"""Workloads and schedules as JSON that is the same for the same work, in any process and version of Python.

    Window(Geometry((8, 8), (3, 3), (1, 1), (1, 1), (8, 8)), channels=32, lanes=16)
        becomes  {"channels":32,"geometry":{"kernel":[3,3],...},"lanes":16}

Fields at their default are left out, so that a new field with a default leaves old records valid. `restored` is
the way back.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def canonical(data: Any) -> str:
    """`data` as JSON with sorted keys and no spaces."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain(item: Any) -> dict[str, Any]:
    """A dataclass as JSON data, infinite numbers as words."""
    made = {field.name: getattr(item, field.name) for field in fields(item)}
    return {field.name: _value(made[field.name]) for field in fields(item) if made[field.name] != _default(field)}


def _value(value: Any) -> Any:
    if is_dataclass(value):
        return plain(value)
    if isinstance(value, tuple | list):
        return [_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _default(field: Field[Any]) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def restored(kind: type[T], data: Mapping[str, Any]) -> T:
    """The dataclass `kind` that `plain` wrote as `data`. Raises ValueError when it is no such thing."""
    hints = get_type_hints(kind)
    try:
        return kind(**{name: _restored(hints[name], value) for name, value in data.items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no {kind.__name__}: {error}") from error


def _restored(kind: Any, value: Any) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return restored(kind, value)
    if get_origin(kind) is tuple:
        return tuple(_restored(get_args(kind)[0], item) for item in value)
    return float(value) if kind is float else value


def complete(item: Any) -> dict[str, Any]:
    """A flat dataclass, a schedule, with all its fields."""
    return {field.name: getattr(item, field.name) for field in fields(item)}

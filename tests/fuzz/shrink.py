"""Makes a failing input small: parts are left out for as long as it fails in the same way.

A model loses nodes, tensors and fields; a tree its branches; lines their file; anything else runs of bytes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import onnx
import yaml
from google.protobuf.message import DecodeError, Message

from tests.fuzz.mutate_model import is_repeated

Fails = Callable[[bytes], bool]


def shrink(data: bytes, suffix: str, fails: Fails, attempts: int = 400) -> bytes:
    """The smallest input found with which `fails` is still true, after at most so many `attempts`."""
    left, found = attempts, True
    while found and left > 0:
        found = False
        for smaller in candidates(data, suffix):
            if len(smaller) >= len(data):
                continue
            left -= 1
            if fails(smaller):
                data, found = smaller, True
                break
            if left <= 0:
                break
    return data


def candidates(data: bytes, suffix: str) -> Iterator[bytes]:
    """Inputs with something less in them, the largest parts first."""
    if suffix == ".onnx":
        yield from _smaller_models(data)
    elif suffix in (".yaml", ".json"):
        yield from _smaller_trees(data, suffix)
    yield from _smaller_bytes(data, b"\n" if suffix in (".yaml", ".jsonl") else b"")


def _smaller_models(data: bytes) -> Iterator[bytes]:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return
    for path in list(_parts(model, ())):
        smaller = onnx.ModelProto()
        smaller.CopyFrom(model)
        _remove(smaller, path)
        yield smaller.SerializeToString()


def _parts(message: Message, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The place of each field and of each item, outer ones first; long lists of numbers as a whole."""
    fields = message.ListFields()
    for field, value in fields:
        yield (*path, field.name)
        if is_repeated(field) and field.message_type is not None:
            yield from ((*path, field.name, at) for at in reversed(range(len(value))))
    for field, value in fields:
        if field.message_type is None:
            continue
        if is_repeated(field):
            for at, item in enumerate(value):
                yield from _parts(item, (*path, field.name, at))
        else:
            yield from _parts(value, (*path, field.name))


def _remove(message: Any, path: tuple[Any, ...]) -> None:
    *before, last = path
    for step in before:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    if isinstance(last, int):
        del message[last]
    else:
        message.ClearField(last)


def _smaller_trees(data: bytes, suffix: str) -> Iterator[bytes]:
    parse: Callable[[bytes], Any] = json.loads if suffix == ".json" else yaml.safe_load
    dump: Callable[[Any], str] = json.dumps if suffix == ".json" else yaml.safe_dump
    try:
        places = list(_branches(parse(data), ()))[:2000]
        for path in places:
            tree = parse(data)
            holder = tree
            for step in path[:-1]:
                holder = holder[step]
            del holder[path[-1]]
            yield dump(tree).encode()
    except Exception:  # parsers raise anything
        return


def _branches(tree: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    items = list(tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ())
    yield from ((*path, key) for key, _ in items)
    for key, value in items:
        yield from _branches(value, (*path, key))


def _smaller_bytes(data: bytes, separator: bytes) -> Iterator[bytes]:
    parts = data.split(separator) if separator else [data[at : at + 1] for at in range(len(data))]
    size = len(parts) // 2
    while size:
        for at in range(0, len(parts), size):
            yield separator.join((*parts[:at], *parts[at + size :]))
        size //= 2

"""The stored digests, one file a network, and what differs from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mdcompiler.errors import UnsupportedError
from mdcompiler.target import shipped_targets
from tests.golden.capture import Golden, capture
from tests.golden.networks import FOLDER, placed

PRECISIONS = ("fp32", "int8")
_STORE = FOLDER / "zoo"
Row = dict[str, Any]


def golden(network: str, target: str, precision: str) -> Golden:
    """What is emitted now, by the shipped records alone, or why it is refused."""
    os.environ["MDC_RECORDS"] = "off"
    try:
        return capture(placed(network, target, precision))
    except UnsupportedError as error:
        return {"refused": str(error)}


def pairs() -> Iterator[tuple[str, str]]:
    """Every named target with every precision."""
    for target in shipped_targets():
        if target not in ("cpu", "null"):
            yield from ((target, precision) for precision in PRECISIONS)


def read(network: str) -> dict[str, Row]:
    """`target precision` -> its row."""
    path = _file(network)
    rows: dict[str, Row] = json.loads(path.read_text()) if path.is_file() else {}
    return rows


def write(network: str, rows: dict[str, Row]) -> None:
    lines = (f" {json.dumps(key)}: {json.dumps(row, sort_keys=True)}" for key, row in sorted(rows.items()))
    _file(network).parent.mkdir(exist_ok=True)
    _file(network).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def row(found: Golden) -> Row:
    """As it is stored: digests of kernels in order, their names left out."""
    return {**found, "kernels": list(found["kernels"].values())} if "kernels" in found else found


def differences(found: Golden, stored: Row) -> list[str]:
    """What is emitted otherwise than stored, one phrase each."""
    if "refused" in found or "refused" in stored:
        return [] if found == stored else [f"{_outcome(found)} instead of {_outcome(stored)}"]
    names, old = list(found["kernels"]), stored["kernels"]
    count = [f"{len(names)} kernels instead of {len(old)}"] if len(names) != len(old) else []
    new = [f"kernel {name}" for name in names if found["kernels"][name] not in old]
    moved = [] if new or count or row(found)["kernels"] == old else ["the order of kernels"]
    return [*count, *new, *moved, *_changed(found, stored, "files"), *_changed(found, stored, "facts")]


def _changed(found: Golden, stored: Row, part: str) -> list[str]:
    keys = sorted({*found[part], *stored[part]})
    pairs = ((key, found[part].get(key), stored[part].get(key)) for key in keys)
    return [f"{key}: {now} instead of {then}" for key, now, then in pairs if now != then]


def _outcome(outcome: Row) -> str:
    return f"refused ({outcome['refused']})" if "refused" in outcome else "compiled"


def _file(network: str) -> Path:
    return _STORE / f"{network}.json"

"""All records that a compilation may use: those that ship with the toolkit, and the user's own.

`MDC_RECORDS` names the user's file (default: `records.jsonl` in the cache folder); `off` uses none.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from mdcompiler.foreign import exists
from mdcompiler.tuning.machine import Machine, fitness
from mdcompiler.tuning.record import Key, Record
from mdcompiler.tuning.record_file import accepted, good_records, parse_records

_OFF = "off"
_FILE = "records.jsonl"


class Records:
    """Records by workload. Of two for the same machine, that of the later layer wins, then the one with more
    trials, then the later one."""

    def __init__(self, *layers: Iterable[Record]) -> None:
        self._found: dict[Key, list[tuple[int, Record]]] = defaultdict(list)
        for rank, layer in enumerate(layers):
            for record in layer:
                self._found[record.key].append((rank, record))

    def find(self, key: Key, machine: Machine) -> Record | None:
        """The record that serves `machine` best by the rule of `mdcompiler.tuning.machine`, or None."""
        best, found = (-1, -1, -1), None
        for rank, record in self._found.get(key, ()):
            fit = fitness(record.machine, machine)
            if fit is not None and (fit, rank, record.trials) >= best:
                best, found = (fit, rank, record.trials), record
        return found

    def best(self) -> list[Record]:
        """One record for each workload and machine, in the order in which they first came."""
        kept: dict[tuple[Key, str], Record] = {}
        for key, found in self._found.items():
            for _, record in found:
                winner = self.find(key, record.machine)
                if winner is not None and winner.machine == record.machine:
                    kept.setdefault((key, record.machine.model_dump_json()), winner)
        return list(kept.values())


def user_file() -> Path | None:
    """The user's records file, which need not exist; None when there is to be none."""
    chosen = os.environ.get("MDC_RECORDS", "")
    cache = os.environ.get("MDC_CACHE", "")
    if chosen == _OFF or (not chosen and cache == _OFF):
        return None
    if chosen:
        return Path(chosen)
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(cache) if cache else base / "mdcompiler") / _FILE


def open_records(shipped: Sequence[Path], own: Path | None) -> Records:
    """Shipped records and those of the user's file. Raises RecordsError when a line is bad."""
    layers = [record for item in shipped for record in _shipped(item)]
    return Records(layers, _own(own, *_stamp(own)) if own is not None and exists(own) else ())


@lru_cache(maxsize=8)
def _shipped(item: Path) -> tuple[Record, ...]:
    return tuple(accepted(parse_records(item.read_bytes(), item.name), item.name))


@lru_cache(maxsize=2)
def _own(path: Path, changed_ns: int, size: int) -> tuple[Record, ...]:
    return tuple(good_records(path))


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size

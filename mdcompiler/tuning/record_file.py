"""Files of records: JSON lines, appended to while tuning, read with suspicion.

A line is appended in one write and brought to the disk before the tuner goes on, so a process that is
killed loses at most the workload it was measuring. Half a last line is what such a death leaves: it is
passed over, and the next append takes its place.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from mdcompiler.errors import OutputError, RecordsError
from mdcompiler.tuning.record import Record
from mdcompiler.write_aside import write_file

MOST_BYTES = 64 << 20
MOST_LINE_BYTES = 128 << 10
_SHOWN = 5


class Contents(NamedTuple):
    """What a file holds. faults: `file:line: reason` of each line that is no record."""

    records: list[Record]
    faults: list[str]


def read_records(path: Path) -> Contents:
    """Everything in the file at `path`. Raises RecordsError when it cannot be read or is too large."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise RecordsError(
                f"reading records from {path}: the file has {path.stat().st_size} bytes, {MOST_BYTES} are allowed. "
                "Keep the best of them with `mdc records prune`, or split the file."
            )
        data = path.read_bytes()
    except OSError as error:
        raise RecordsError(f"reading records from {path}: {error.strerror or error}. Check the path.") from error
    return parse_records(data, str(path))


def parse_records(data: bytes, where: str) -> Contents:
    """The content of a file as records."""
    contents = Contents([], [])
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            contents.records.append(_record(line))
        except ValueError as error:
            if number < len(lines):
                contents.faults.append(f"{where}:{number}: {error}")
    return contents


def good_records(path: Path) -> list[Record]:
    """The records of a file all of whose lines are good. Raises RecordsError naming those that are not."""
    return accepted(read_records(path), str(path))


def accepted(contents: Contents, where: str) -> list[Record]:
    """The records, when no line is bad. Raises RecordsError naming those that are."""
    if contents.faults:
        more = len(contents.faults) - _SHOWN
        shown = "\n  ".join(contents.faults[:_SHOWN]) + (f"\n  and {more} more" if more > 0 else "")
        raise RecordsError(
            f"reading records from {where}: {len(contents.faults)} lines are no records. "
            f"`mdc records prune {where}` leaves them out.\n  {shown}"
        )
    return contents.records


def append_record(path: Path, record: Record) -> None:
    """Add `record` to the file and wait until it is on the disk. Raises OutputError when that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            start = _mend_end(handle)
            os.write(handle, start + record.line().encode() + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise OutputError(f"writing records to {path}: {error.strerror or error}. Choose another file.") from error


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Replace the file at `path`, at once or not at all."""
    write_file(path, "".join(record.line() + "\n" for record in records).encode())


def _mend_end(handle: int) -> bytes:
    """Cut off half a record at the end of the file; what must come before the next one."""
    size = os.fstat(handle).st_size
    start = max(0, size - MOST_LINE_BYTES)
    tail = os.pread(handle, size - start, start)
    last = tail[tail.rfind(b"\n") + 1 :]
    if not last:
        return b""
    try:
        _record(last)
    except ValueError:
        os.ftruncate(handle, size - len(last))
        return b""
    return b"\n"


def _record(line: bytes) -> Record:
    """One line. Raises ValueError with the reason."""
    if len(line) > MOST_LINE_BYTES:
        raise ValueError(f"{len(line)} bytes; a record has at most {MOST_LINE_BYTES}")
    try:
        return Record.model_validate(json.loads(line, parse_constant=_refuse))
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, item['loc'])) or 'record'}: {item['msg']}" for item in error.errors()]
        raise ValueError("; ".join(faults[:_SHOWN])) from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"no JSON: {type(error).__name__}") from error


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number that JSON has")

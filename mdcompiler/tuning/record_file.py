"""Files of records: JSON lines, appended to while tuning, read with suspicion.

A line is appended in one write and brought to the disk before the tuner goes on, so a process that is
killed loses at most the workload it was measuring. Half a last line is what such a death leaves: it is
passed over, and the next append takes its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mdcompiler.errors import OutputError, RecordsError
from mdcompiler.foreign import read_file, reason, refusing
from mdcompiler.json_lines import append_line, may_be_cut_off
from mdcompiler.strict_json import parse_json
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
    with refusing(f"reading records from {path}", RecordsError, "Check the path, or split the file."):
        return parse_records(read_file(path, MOST_BYTES), str(path))


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
            if number < len(lines) or not may_be_cut_off(line):
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
    with refusing(f"writing records to {path}", OutputError, "Choose another file."):
        path.parent.mkdir(parents=True, exist_ok=True)
        append_line(path, record.line().encode(), _is_record)


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Replace the file at `path`, at once or not at all."""
    write_file(path, "".join(record.line() + "\n" for record in records).encode())


def _is_record(line: bytes) -> bool:
    try:
        _record(line)
    except ValueError:
        return False
    return True


def _record(line: bytes) -> Record:
    """One line. Raises ValueError with the reason."""
    if len(line) > MOST_LINE_BYTES:
        raise ValueError(f"{len(line)} bytes; a record has at most {MOST_LINE_BYTES}")
    try:
        parse_json(line)
        return Record.model_validate_json(line, strict=True)
    except Exception as error:  # as `refusing`, but a bad line leaves the others
        raise ValueError(reason(error)) from error

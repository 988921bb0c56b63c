"""The table of block latencies that a search reads: a row a block, added up over a network.

A file of JSON lines: first what the table is of, then a row a line. A later row of a block takes the place
of an earlier one, so measuring may stop and go on by appending.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from mdcompiler.errors import OutputError, RecordsError
from mdcompiler.foreign import exists, is_file, read_file, reason, refusing
from mdcompiler.json_lines import append_line, may_be_cut_off
from mdcompiler.latency.signature import signature
from mdcompiler.spec import Spec, build_network
from mdcompiler.strict_json import parse_json
from mdcompiler.write_aside import write_file

_MOST_BYTES = 128 << 20
_Line = TypeVar("_Line", bound=BaseModel)
_Count = Annotated[int, Field(ge=1, lt=1 << 31)]
_Total = Annotated[int, Field(ge=0, lt=1 << 62)]
_Microseconds = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]


class Head(BaseModel):
    """What a table is of: target and chip ("" where there is none), precision, column of published latencies.

    host: processor and threads of measurements, "" for predictions.
    network_us: beside the blocks, in every network. resident_bytes, us_per_byte: weights of the whole network
    beyond the first cost the second, each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    target: str
    chip: str = ""
    precision: str
    column: str = ""
    host: str = ""
    network_us: _Microseconds = 0.0
    resident_bytes: _Total = 0
    us_per_byte: _Microseconds = 0.0


class Row(BaseModel):
    """One block. key: its signature, which says activation, squeeze-excite and residual too.

    source, inner, out: channels it reads, those inside, those it gives. height, width: of its input; kernel: the
    largest. weight_bytes: of its filters in the table's precision. how: predicted, or measured on the target.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str = Field(max_length=1000)
    kind: str = Field(max_length=20)
    text: str = Field(max_length=200)
    kernel: _Count
    stride: _Count
    source: _Count
    inner: tuple[_Count, ...] = Field(max_length=16)
    out: _Count
    height: _Count
    width: _Count
    macs: _Total
    weight_bytes: _Total
    latency_us: _Microseconds
    how: Literal["predicted", "measured"]


class Table:
    """Rows by key."""

    def __init__(self, head: Head, rows: Iterable[Row] = ()) -> None:
        self.head = head
        self.rows = {row.key: row for row in rows}

    def total_us(self, spec: Spec) -> float:
        """Latency of a network: its blocks' rows, what is fixed, and weights that do not fit on the chip.

        Raises RecordsError naming the first block that the table does not have.
        """
        rows = [self._row(spec.name, block.path, signature(block)) for block in build_network(spec).blocks]
        streamed = max(0, sum(row.weight_bytes for row in rows) - self.head.resident_bytes)
        return sum(row.latency_us for row in rows) + self.head.network_us + streamed * self.head.us_per_byte

    def _row(self, network: str, path: str, key: str) -> Row:
        if key not in self.rows:
            raise RecordsError(
                f"adding up {network}: the table has no row for {path} ({key}). Make the table of a space that "
                "holds this network, or of the network itself."
            )
        return self.rows[key]


def read_table(path: Path) -> Table:
    """The table in the file at `path`; half a last line is passed over. Raises RecordsError."""
    with refusing(f"reading the table {path}", RecordsError, "Give a latency table, or make it anew."):
        lines = read_file(path, _MOST_BYTES).split(b"\n")
        head = _numbered(Head, lines[0], 1)
        last = len(lines)
        rows = [
            _numbered(Row, line, number)
            for number, line in enumerate(lines[1:], 2)
            if line.strip() and not (number == last and may_be_cut_off(line) and not _is_line(line))
        ]
        return Table(head, rows)


def holds_nothing(path: Path) -> bool:
    """Whether there is no table yet: no file, or an empty one."""
    return not exists(path) or (is_file(path) and path.stat().st_size == 0)


def _numbered(kind: type[_Line], line: bytes, number: int) -> _Line:
    try:
        parse_json(line)
        return kind.model_validate_json(line, strict=True)
    except Exception as error:  # as `refusing`, and with the number of the line
        what = "is not that of a latency table" if kind is Head else "is no row"
        raise ValueError(f"line {number} {what}: {reason(error)}") from error


def _is_line(line: bytes) -> bool:
    for kind in (Row, Head):
        try:
            _numbered(kind, line, 0)
        except ValueError:
            continue
        return True
    return False


def write_table(table: Table, path: Path) -> None:
    """Write a whole table. Raises OutputError."""
    lines = [table.head.model_dump_json(), *(row.model_dump_json() for row in table.rows.values())]
    write_file(path, ("\n".join(lines) + "\n").encode())


def append_row(row: Row, path: Path) -> None:
    """Add a row to the file, in place of half a last line, and bring it to the disk. Raises OutputError."""
    with refusing(f"adding to {path}", OutputError, "Choose a place that can be written."):
        append_line(path, json.dumps(row.model_dump(mode="json")).encode(), _is_line)

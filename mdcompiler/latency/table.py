"""The table of block latencies that a search reads: a row a block, added up over a network.

A file of JSON lines: first what the table is of, then a row a line. A later row of a block takes the place
of an earlier one, so measuring may stop and go on by appending.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mdcompiler.errors import OutputError, RecordsError
from mdcompiler.latency.signature import signature
from mdcompiler.spec import Spec, build_network
from mdcompiler.write_aside import write_file

_MOST_BYTES = 256 << 20
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
    resident_bytes: int = Field(default=0, ge=0)
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
    kernel: int = Field(ge=1)
    stride: int = Field(ge=1)
    source: int = Field(ge=1)
    inner: tuple[int, ...] = Field(max_length=16)
    out: int = Field(ge=1)
    height: int = Field(ge=1)
    width: int = Field(ge=1)
    macs: int = Field(ge=0)
    weight_bytes: int = Field(ge=0)
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
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RecordsError(f"reading the table {path}: it is larger than {_MOST_BYTES} bytes. Make it anew.")
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise RecordsError(f"reading the table {path}: {error.strerror or error}. Check the path.") from error
    try:
        head = Head.model_validate_json(lines[0])
    except ValidationError as error:
        raise RecordsError(f"reading the table {path}: line 1 is not that of a latency table. Give one.") from error
    return Table(head, _rows(lines[1:], path))


def _rows(lines: list[bytes], path: Path) -> Iterable[Row]:
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        try:
            yield Row.model_validate_json(line)
        except ValidationError as error:
            if number <= len(lines):  # what a process that was killed leaves is the last line only
                fault = error.errors()[0]
                where = ".".join(map(str, fault["loc"]))
                raise RecordsError(
                    f"reading the table {path}, line {number}: {where} {fault['msg']}. Mend it, or make the table anew."
                ) from error


def write_table(table: Table, path: Path) -> None:
    """Write a whole table. Raises OutputError."""
    lines = [table.head.model_dump_json(), *(row.model_dump_json() for row in table.rows.values())]
    write_file(path, ("\n".join(lines) + "\n").encode())


def append_row(row: Row, path: Path) -> None:
    """Add a row to a file that ends with a whole line, and bring it to the disk. Raises OutputError."""
    try:
        with path.open("ab") as file:
            file.write((json.dumps(row.model_dump(mode="json")) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutputError(
            f"adding to {path}: {error.strerror or error}. Choose a place that can be written."
        ) from error

"""What a loader would ask of a shared library: a reader of 64-bit little-endian ELF files (System V ABI, chapter 5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRING_TABLE, _SYMBOL_TABLE = 1, 5, 6
AARCH64 = 183


@dataclass(frozen=True)
class ElfFile:
    """One file."""

    data: bytes

    @property
    def machine(self) -> int:
        return int(struct.unpack_from("<H", self.data, 18)[0])

    @property
    def load_alignments(self) -> set[int]:
        """Alignment of the segments that are mapped, in bytes."""
        return {alignment for kind, _, _, _, alignment in self._segments() if kind == _LOAD}

    @property
    def needed(self) -> list[str]:
        """The libraries that it is loaded with."""
        names = self._place(self._dynamic(_STRING_TABLE)[0])
        return [self._text(names + offset) for offset in self._dynamic(_NEEDED)]

    @property
    def undefined(self) -> set[str]:
        """The functions that those must have."""
        symbols, names = (self._place(self._dynamic(tag)[0]) for tag in (_SYMBOL_TABLE, _STRING_TABLE))
        found = set()
        for start in range(symbols + 24, symbols + 24 * self._symbol_count(symbols), 24):
            name, _, _, section, _, _ = struct.unpack_from("<IBBHQQ", self.data, start)
            if section == 0:
                found.add(self._text(names + name))
        return found

    def _symbol_count(self, symbols: int) -> int:
        """From the section header of the dynamic symbols."""
        table, size, count = (struct.unpack_from(f, self.data, at)[0] for f, at in (("<Q", 40), ("<H", 58), ("<H", 60)))
        for index in range(count):
            header = struct.unpack_from("<IIQQQQIIQQ", self.data, table + index * size)
            if header[4] == symbols:
                return int(header[5]) // 24
        raise AssertionError("no section holds the dynamic symbols")

    def _segments(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Kind, file offset, address, file size, alignment."""
        table, size, count = (struct.unpack_from(f, self.data, at)[0] for f, at in (("<Q", 32), ("<H", 54), ("<H", 56)))
        for index in range(count):
            kind, _, offset, address, _, in_file, _, alignment = struct.unpack_from(
                "<IIQQQQQQ", self.data, table + index * size
            )
            yield kind, offset, address, in_file, alignment

    def _dynamic(self, wanted: int) -> list[int]:
        """The values of one tag of the dynamic section."""
        start, size = next((offset, length) for kind, offset, _, length, _ in self._segments() if kind == _DYNAMIC)
        return [value for tag, value in struct.iter_unpack("<QQ", self.data[start : start + size]) if tag == wanted]

    def _place(self, address: int) -> int:
        """File offset of an address."""
        return next(
            address - first + offset
            for _, offset, first, size, _ in self._segments()
            if first <= address < first + size
        )

    def _text(self, start: int) -> str:
        return self.data[start : self.data.index(b"\0", start)].decode()

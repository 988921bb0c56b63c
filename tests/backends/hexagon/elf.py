"""Reading what the archive holds: `ar` members and the parts of 32-bit ELF objects that a linker looks at first."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

_MEMBER_BYTES = 60
_SYMBOL_TABLE = 2
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION = struct.Struct("<10I")
_SYMBOL = struct.Struct("<IIIBBH")
_WEAK = 2


@dataclass(frozen=True)
class ElfObject:
    """One object. kind: 1 is relocatable. machine: 164 is Hexagon. flags: the low byte is the processor's version."""

    name: str
    kind: int
    machine: int
    flags: int
    defined: frozenset[str]
    undefined: frozenset[str]
    weak: frozenset[str]


def members(archive: bytes) -> Iterator[ElfObject]:
    """The objects of an `ar` archive."""
    assert archive[:8] == b"!<arch>\n"
    at, long_names = 8, b""
    while at + _MEMBER_BYTES <= len(archive):
        name = archive[at : at + 16].decode().rstrip()
        size = int(archive[at + 48 : at + 58])
        content = archive[at + _MEMBER_BYTES : at + _MEMBER_BYTES + size]
        at += _MEMBER_BYTES + size + size % 2
        if name == "//":
            long_names = content
        elif name not in ("/", "/SYM64/"):
            if name.startswith("/"):
                name = long_names[int(name[1:]) :].split(b"\n")[0].decode()
            yield read_object(name.rstrip("/"), content)


def read_object(name: str, content: bytes) -> ElfObject:
    """Asserts that it is 32-bit and little-endian."""
    header = _HEADER.unpack_from(content)
    assert header[0][:6] == b"\x7fELF\x01\x01"
    sections = [_SECTION.unpack_from(content, header[6] + i * header[11]) for i in range(header[12])]
    table = next(section for section in sections if section[1] == _SYMBOL_TABLE)
    names = sections[table[6]]
    symbols = [_SYMBOL.unpack_from(content, table[4] + i * _SYMBOL.size) for i in range(table[5] // _SYMBOL.size)]

    def called(symbol: tuple[int, ...]) -> str:
        start = names[4] + symbol[0]
        return content[start : content.index(b"\0", start)].decode()

    seen = [(called(symbol), symbol[3] >> 4, symbol[5]) for symbol in symbols if symbol[3] >> 4]
    return ElfObject(
        name=name,
        kind=header[1],
        machine=header[2],
        flags=header[7],
        defined=frozenset(name for name, _, section in seen if section),
        undefined=frozenset(name for name, _, section in seen if not section),
        weak=frozenset(name for name, binding, section in seen if section and binding == _WEAK),
    )

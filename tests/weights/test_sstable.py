"""LevelDB tables and their checksum."""

from __future__ import annotations

import pytest

from mdcompiler.weights.crc32c import crc32c, masked_crc32c
from mdcompiler.weights.sstable import read_table
from mdcompiler.weights.varint import Truncated
from tests.weights.damage import truncations
from tests.weights.tf1_writer import sstable

TABLE = [(f"layer/{index:04d}/weights".encode(), bytes([index % 251]) * (index % 7)) for index in range(120)]


def test_crc32c_of_rfc_3720() -> None:
    """RFC 3720, B.4; the mask from leveldb/util/crc32c.h."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert masked_crc32c(bytes(32)) != crc32c(bytes(32))


@pytest.mark.parametrize("snappy", [False, True])
@pytest.mark.parametrize("entries_per_block", [1, 16, 33, 1000])
def test_round_trip(snappy: bool, entries_per_block: int) -> None:
    assert read_table(sstable(TABLE, snappy, entries_per_block)) == dict(TABLE)


def test_every_changed_byte_of_a_block_is_noticed() -> None:
    data = sstable(TABLE[:6])
    for position in range(len(data) - 48):
        changed = bytearray(data)
        changed[position] ^= 0x10
        try:
            table = read_table(bytes(changed))
        except Truncated:
            continue
        assert table == dict(TABLE[:6]), "only the metaindex, which nobody reads, may change"


def test_truncated_tables() -> None:
    for part in truncations(sstable(TABLE)):
        with pytest.raises(Truncated):
            read_table(part)

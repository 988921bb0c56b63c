"""Damage to arrays in files: `.npy`, `.npz` and `.safetensors`, inside and outside of what holds them."""

from __future__ import annotations

import ast
import io
import struct
import zipfile
from random import Random

from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.mutate_text import mutate_json
from tests.fuzz.odd_values import NAMES

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_SHAPES = (
    "()",
    "(0,)",
    "(-1, 8)",
    "(9999999999999999999999,)",
    "(2, 3",
    "(1,) * 9",
    "None",
    "(1.0,)",
    "(1, 'a')",
    "(2,)" * 3,
)
_TYPES = (
    "<f4",
    ">f4",
    "|O",
    "|S8",
    "<U4",
    "<f2",
    "<M8[ns]",
    "V16",
    "<c16",
    "<f999",
    "[('a', '<f4')]",
    "",
    "|b1",
    "<u1",
)
_HEADERS = (
    "{}",
    "(",
    "{'descr': '<f4'}",
    "\x00" * 64,
    "[" * 500,
    "{" * 3000,
    "__import__('os')",
    "1" * 5000,
    "{'a': {}}",
)


def mutate_npy(random: Random, data: bytes) -> bytes:
    """One damage to an array: to its header's claims, or to any byte."""
    if len(data) < 12 or data[:6] != b"\x93NUMPY" or random.random() < 0.4:
        return mutate_bytes(random, data)
    (length,) = struct.unpack("<H", data[8:10])
    header, body = data[10 : 10 + length].decode("latin1"), data[10 + length :]
    return _npy(random, _new_header(random, header), body)


def mutate_npz(random: Random, data: bytes) -> bytes:
    """One damage to an archive of arrays: to a member, to its name, to how it is packed, or to any byte."""
    if random.random() < 0.4:
        return mutate_bytes(random, data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:  # an archive that was damaged before
        return mutate_bytes(random, data)
    return _packed(random, _changed(random, members))


def mutate_safetensors(random: Random, data: bytes) -> bytes:
    """One damage to the header of a safetensors file, as JSON, or to any byte."""
    if len(data) < 8 or random.random() < 0.3:
        return mutate_bytes(random, data)
    (length,) = struct.unpack("<Q", data[:8])
    header = mutate_json(random, data[8 : 8 + length])
    said = length if random.random() < 0.1 else len(header)
    return struct.pack("<Q", said) + header + data[8 + length :]


def _new_header(random: Random, header: str) -> str:
    try:
        said = dict(ast.literal_eval(header))
        shape, kind, order = tuple(said["shape"]), repr(said["descr"]), "False"
    except Exception:  # a header that was damaged before
        return random.choice(_HEADERS)
    edit = random.choice(("shape", "shape", "type", "order", "other"))
    if edit == "other":
        return random.choice(_HEADERS)
    sizes = str(shape)
    if edit == "shape":
        sizes = random.choice((*_SHAPES, str(tuple(size * random.choice((1, 1, 2, 10**6)) for size in shape))))
    elif edit == "type":
        kind = repr(random.choice(_TYPES))
    else:
        order = random.choice(("True", "None", "1"))
    return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {sizes}, }}\n"


def _npy(random: Random, header: str, body: bytes) -> bytes:
    text = header.encode("latin1", "replace")
    version = random.choice((b"\x01\x00", b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    size = struct.pack("<H", len(text) % 65536) if version == b"\x01\x00" else struct.pack("<I", len(text))
    return b"\x93NUMPY" + version + size + text + body


def _changed(random: Random, members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    if not members:
        return [(random.choice(NAMES) + ".npy", b"")]
    at = random.randrange(len(members))
    name, data = members[at]
    edit = random.choice(("array", "array", "array", "drop", "twice", "name", "pack", "other"))
    if edit == "array":
        members[at] = (name, mutate_npy(random, data))
    elif edit == "drop":
        del members[at]
    elif edit == "twice":
        members.append((name, data))
    elif edit == "name":
        members[at] = (random.choice((random.choice(NAMES), random.choice(NAMES) + ".npy")), data)
    elif edit == "other":
        members.append((random.choice(("x", "y.npy", "dir/", "../z.npy")), random.randbytes(16)))
    return members


def _packed(random: Random, members: list[tuple[str, bytes]]) -> bytes:
    import warnings

    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name
        with zipfile.ZipFile(file, "w", random.choice(_METHODS)) as archive:
            for name, data in members:
                archive.writestr(
                    zipfile.ZipInfo(name.replace("\0", "").encode("utf-8", "replace").decode()),
                    data,
                    archive.compression,
                )
    return mutate_bytes(random, file.getvalue()) if random.random() < 0.2 else file.getvalue()

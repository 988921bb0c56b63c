"""The guard between foreign data and the toolkit: whatever a parser raises is one sentence about the file."""

from __future__ import annotations

import json
import lzma
import os
import struct
import tokenize
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from mdcompiler.errors import InputError, InternalError, ModelError
from mdcompiler.foreign import is_file, is_folder, open_file, read_file, refusing, shortened


class _Panic(BaseException):
    """As pyo3's PanicException: no Exception."""


def _raise(error: BaseException) -> Callable[[], object]:
    def parser() -> object:
        raise error

    return parser


class _Row(BaseModel):
    number: int
    word: str


PARSERS: dict[str, tuple[Callable[[], object], str]] = {
    "memory": (_raise(MemoryError()), "more memory than there is"),
    "deep json": (lambda: json.loads("[" * 100_000), "nested too deeply"),
    "digits": (lambda: json.loads("1" * 5000), "4300"),
    "infinity": (lambda: int(float("inf")), "infinity"),
    "zlib": (lambda: zlib.decompress(b"no"), "incorrect header"),
    "lzma": (lambda: lzma.decompress(b"no lzma at all"), "Input format"),
    "struct": (lambda: struct.unpack("<I", b""), "4 bytes"),
    "tokens": (_raise(tokenize.TokenError("EOF in multi-line", (1, 0))), "EOF in multi-line"),
    "no utf-8": (lambda: b"ab\xff".decode(), "no UTF-8 text: byte 0xff at 2"),
    "half a character": (lambda: "a\ud800".encode(), "half a character"),
    "key": (lambda: {"a": 1}["boxes"], "it has no 'boxes'"),
    "fields": (lambda: _Row.model_validate({"number": "x"}), "number: .*word: Field required"),
    "panic": (_raise(_Panic("called `Option::unwrap()`")), "unwrap"),
    "no words": (_raise(AssertionError()), "AssertionError"),
    "long": (_raise(ValueError("x" * 10**6)), "xxx…"),
    "lines": (_raise(RuntimeError("first\nsecond\nthird")), r"\(first\)"),
}


@pytest.mark.parametrize("name", PARSERS)
def test_whatever_a_parser_raises_is_the_files_fault(name: str) -> None:
    parser, expected = PARSERS[name]
    with pytest.raises(InputError, match=expected) as told, refusing("reading a.bin", InputError, "Copy it again."):
        parser()
    said = str(told.value)
    assert said.startswith("reading a.bin: ")
    assert said.endswith(". Copy it again.")
    assert len(said) < 2000
    assert "\n" not in said


@pytest.mark.parametrize("error", [ModelError("mine"), InternalError("ours"), KeyboardInterrupt(), SystemExit(2)])
def test_what_is_ours_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)) as told, refusing("reading a.bin", InputError, "Copy it again."):
        raise error
    assert told.value is error


def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    pipe, loop, long = tmp_path / "pipe", tmp_path / "loop", tmp_path / ("x" * 300)
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    for path, why in ((pipe, "a pipe"), (Path("/dev/zero"), "a device")):
        with pytest.raises(ValueError, match=why):
            open_file(path)
    with pytest.raises(ValueError, match="NUL"):
        open_file(f"{tmp_path}/a\0b")
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)
    for path in (loop, long, tmp_path / "absent", tmp_path / os.fsdecode(b"\xff")):
        with pytest.raises(OSError, match=r"Too many levels|too long|No such file"):
            open_file(path)
        assert not is_file(path)
        assert not is_folder(path)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    file = tmp_path / "four"
    file.write_bytes(b"abcd")
    assert read_file(file, 4) == b"abcd"
    with pytest.raises(ValueError, match="4 bytes, and at most 3 are read"):
        read_file(file, 3)
    assert is_file(file)
    assert is_folder(tmp_path)


def test_foreign_text_is_shown_on_one_line() -> None:
    assert shortened("a\nb\x1b[31m\ud800") == "a\\nb\\x1b[31m\\ud800"
    assert shortened("é" * 400, 10) == "é" * 9 + "…"

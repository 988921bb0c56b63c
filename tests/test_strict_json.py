"""JSON from outside: what Python takes and the toolkit could not use is refused."""

from __future__ import annotations

import json

import pytest

from mdcompiler.errors import InputError
from mdcompiler.foreign import refusing
from mdcompiler.strict_json import parse_json

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "nan": ("[NaN]", "NaN is no number"),
    "infinity": ("[-Infinity]", "-Infinity is no number"),
    "too large": ("[1e400]", "1e400 is larger than any number"),
    "digits": (f"[{'9' * 31}]", "31 digits; at most 30"),
    "twins": ('{"a": {"b": 1, "b": 2}}', "the key 'b' is given twice"),
    "half a character": (r'["\ud800"]', "half a character"),
    "half a key": (r'{"\udfff": 1}', "half a character"),
    "deep": ("[" * 65 + "]" * 65, "nested more than 64 deep"),
    "deeper": ("[" * 100_000, "nested too deeply"),
    "cut": ('{"a": [1,', "Expecting value"),
    "nothing": ("", "Expecting value"),
    "no utf-8": (b"[\xff]", "no UTF-8 text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, why = REFUSED[name]
    with pytest.raises(InputError, match=why), refusing("reading a.json", InputError, "Mend it."):
        parse_json(text)


def test_what_json_has_is_read() -> None:
    value = {"a": [1, -2.5e3, True, None, "é", "\U0001f600"], "b": {"a": {}}, "c": 10**29}
    for ascii_only in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]
    assert parse_json("[" * 64 + "]" * 64)

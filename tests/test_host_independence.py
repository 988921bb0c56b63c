"""The same inputs and the same named target give the same bytes, whatever of the processor can be seen."""

from __future__ import annotations

import platform

import pytest

from tests.host_masks import MASKS, SMALL, Digests, differences, under

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the masks are of x86 processors")
TARGETS = ("x86-64-v2", "edgetpu", "webgpu")
_ARGUMENTS = ["--network", SMALL, "--samples", "3", "--target", *TARGETS]


@pytest.fixture(scope="module")
def seen() -> dict[str, Digests]:
    """What a process makes that sees all of this processor."""
    return under(MASKS["none"], _ARGUMENTS)


def test_something_is_compiled(seen: dict[str, Digests]) -> None:
    written = {name for files in seen.values() for name in files}
    assert {"int8/model.tflite", "fp32/model.so", "int8/model.so", "int8/manifest.json"} <= written
    assert [name for files in seen.values() for name in files if "refused" in name] == ["fp32/refused"]


@pytest.mark.parametrize("mask", ["numpy", "glibc", "openblas"])
def test_masks_change_no_byte(mask: str, seen: dict[str, Digests]) -> None:
    assert differences(seen, under(MASKS[mask], _ARGUMENTS)) == []


def test_a_difference_is_found() -> None:
    first, other = {"a b": {"int8/x": "1", "int8/y": "2"}}, {"a b": {"int8/x": "3"}}
    assert differences(first, other) == ["a b int8/x", "a b int8/y"]

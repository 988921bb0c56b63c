"""Commands that are killed leave the old or the new result; see `kills.py`, whose command kills any number of times."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.faults.kills import VERBS, Sandbox, Verb, try_kills

SLOW = ("compile-int8", "tune", "records", "matrix", "quantize")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    made = Sandbox(tmp_path_factory.mktemp("kills") / "box")
    yield made
    shutil.rmtree(made.folder)


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)
def test_a_killed_command(box: Sandbox, verb: Verb) -> None:
    assert try_kills(box, verb, 1 if verb.name in SLOW else 3) == []


def test_what_is_left_is_noticed(box: Sandbox) -> None:
    names = ["mdcompiler-link-0123456789abcdef.tmp", "x"]
    for name in names:
        (box.temporary / name).write_text("")
    assert box.left() == sorted(f"tmp/{name}" for name in names)
    for name in names:
        (box.temporary / name).unlink()

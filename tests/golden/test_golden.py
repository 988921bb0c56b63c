"""What some targets emit is what is stored; `python -m tests.golden` compares all of them."""

from __future__ import annotations

import pytest

from tests.golden import store
from tests.golden.capture import Golden

NETWORK = "mobiledet-edgetpu"
PAIRS = [
    ("x86-64-v3", "fp32"),
    ("x86-64-v4-vnni", "int8"),
    ("cortex-a76", "int8"),
    ("hexagon-v66", "int8"),
    ("webgpu", "fp32"),
    ("jetson-orin", "int8"),
    ("edgetpu", "int8"),
    ("hexagon-htp", "int8"),
]


@pytest.mark.parametrize(("target", "precision"), PAIRS)
def test_a_target_emits_what_is_stored(target: str, precision: str) -> None:
    found = store.golden(NETWORK, target, precision)
    assert store.differences(found, store.read(NETWORK)[f"{target} {precision}"]) == []


def test_every_pair_is_stored() -> None:
    assert {f"{target} {precision}" for target, precision in store.pairs()} == set(store.read(NETWORK))


EMITTED: Golden = {
    "kernels": {"conv.0": "aa", "pool.1": "bb"},
    "files": {"model.c": "cc"},
    "facts": {"arena_bytes": 64},
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"kernels": {"conv.0": "ax", "pool.1": "bb"}}, ["kernel conv.0"]),
        ({"kernels": {"pool.0": "bb", "conv.1": "aa"}}, ["the order of kernels"]),
        ({"kernels": {"conv.0": "aa"}}, ["1 kernels instead of 2"]),
        ({"files": {"model.c": "cx"}}, ["model.c: cx instead of cc"]),
        ({"facts": {"arena_bytes": 128}}, ["arena_bytes: 128 instead of 64"]),
    ],
)
def test_a_change_is_named(change: Golden, said: list[str]) -> None:
    assert store.differences({**EMITTED, **change}, store.row(EMITTED)) == said


def test_a_refusal_is_an_outcome() -> None:
    assert store.differences({"refused": "no"}, store.row(EMITTED)) == ["refused (no) instead of compiled"]

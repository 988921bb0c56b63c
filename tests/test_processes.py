"""How many processes compile at once, and that the number changes no byte."""

from __future__ import annotations

import os

import pytest

from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.kernels.sources import ChannelwiseSource
from mdcompiler.processes import compile_processes
from mdcompiler.progress import silent
from mdcompiler.target import find_target


@pytest.mark.parametrize(("said", "expected"), [("3", 3), ("1", 1)])
def test_the_variable_decides(said: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_PROCESSES", said)
    assert compile_processes() == expected


@pytest.mark.parametrize("said", ["", "0", "many", "-2"])
def test_without_it_there_is_one_for_each_processor_that_may_be_used(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MDC_PROCESSES", said)
    allowed = os.sched_getaffinity(0)
    assert compile_processes() == len(allowed)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert compile_processes() == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_two_processes_compile_what_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MDC_CACHE", "off")
    sources = [ChannelwiseSource("mean", (1, pixels, 16)) for pixels in (4, 9, 16)]
    functions = {source.symbol: source for source in sources}
    llvm = find_target("x86-64-v2").llvm
    one, two = (build_objects(functions, llvm, processes, silent) for processes in (1, 2))
    assert len(set(one)) == 3
    assert one == two

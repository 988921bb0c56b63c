"""The bench on this machine: it times what runs, and survives what does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mdcompiler.backends.clib.local_bench import LocalBench
from mdcompiler.target import find_target
from mdcompiler.tuning.record import Key, Schedule
from mdcompiler.tuning.tunable import Job
from tests.tuning.crashing_sources import steps

_ROOT = Path(__file__).resolve().parents[2]


def job(faults: Sequence[str]) -> Job:
    schedules: list[Schedule] = [{"fault": fault} for fault in faults]
    return Job(Key("copy", 1, "{}", "{}"), {}, schedules, schedules[0], ("a/b/c",), steps)


@pytest.fixture(autouse=True)
def in_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The children import the sources of these tests."""
    monkeypatch.chdir(_ROOT)


def test_a_candidate_that_kills_its_process_takes_nobody_with_it() -> None:
    work = job(["crash", "none", "abort", "refuse", "good"])
    with LocalBench(find_target("cpu")) as bench:
        (measured,) = bench.measure([(work, work.candidates)])
    crash, plain, abort, refuse, good = measured
    assert crash.failure.startswith("running: the process ended with status -")
    assert abort.failure.startswith("building: the process ended with status -6")
    assert refuse.failure == "building: ValueError: no such tile"
    for item in (plain, good):
        assert not item.failure
        assert item.min_ns is not None
        assert item.median_ns is not None
        assert 0 < item.min_ns <= item.median_ns


def test_several_jobs_are_measured_in_one_go_each_by_itself() -> None:
    jobs = [job(["none"]), job(["crash"]), job(["good", "none"]), job(["abort"])]
    with LocalBench(find_target("cpu")) as bench:
        measured = bench.measure([(item, item.candidates) for item in jobs])
    ran = [[item.min_ns is not None for item in group] for group in measured]
    assert ran == [[True], [False], [True, True], [False]]

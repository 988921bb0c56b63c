"""The tuner's loop: what comes first, when it stops, and that nothing is lost when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdcompiler.tuning.block_table import block_rows
from mdcompiler.tuning.record_file import good_records
from mdcompiler.tuning.records import Records
from mdcompiler.tuning.session import Budget, Purpose, Session
from mdcompiler.tuning.tunable import Job
from tests.tuning.sessions import MACHINE, TOOLS, KnownBench, job

EVERYTHING = Budget(trials=3, seconds=float("inf"))
PURPOSE = Purpose(MACHINE, TOOLS, "test")
_ROOT = Path(__file__).resolve().parents[2]


def known(file: Path) -> Records:
    return Records(good_records(file) if file.exists() else ())


def test_the_fastest_schedule_is_recorded(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    (outcome,) = Session(KnownBench(), PURPOSE, file).run([job(5)], Records(), EVERYTHING)
    (record,) = good_records(file)
    assert (record.schedule, record.min_ns, record.network) == ({"tile": 2}, 500.0, "test")
    assert [item.min_ns for item in record.measured] == [505.0, 500.0, 510.0]
    assert (outcome.state, outcome.before_ns, outcome.after_ns) == ("tuned", 505.0, 500.0)


def test_what_takes_longest_in_the_network_comes_first(tmp_path: Path) -> None:
    bench = KnownBench()
    Session(bench, PURPOSE, tmp_path / "records.jsonl").run([job(1), job(3, calls=2), job(5)], Records(), EVERYTHING)
    assert bench.order == [(1, 1), (3, 1), (5, 1), (3, 3), (5, 3), (1, 3)]


def test_what_is_recorded_is_not_measured_again_until_more_trials_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    Session(KnownBench(), PURPOSE, file).run([job(1)], Records(), EVERYTHING)
    bench = KnownBench()
    outcomes = Session(bench, PURPOSE, file).run([job(1), job(2)], known(file), EVERYTHING)
    assert [outcome.state for outcome in outcomes] == ["recorded", "tuned"]
    assert {size for size, _ in bench.order} == {2}
    more = KnownBench()
    Session(more, PURPOSE, file).run([job(1, tiles=(1, 2, 4, 8))], known(file), Budget(4, float("inf")))
    assert (1, 4) in more.order


def test_it_stops_when_the_time_is_over_and_says_what_is_left(tmp_path: Path) -> None:
    now = 0.0

    def measured(item: Job) -> None:
        nonlocal now
        now += 10.0

    file, told = tmp_path / "records.jsonl", []
    session = Session(
        KnownBench(measured), PURPOSE, file, lambda what, done, total: told.append((what, done, total)), lambda: now
    )
    outcomes = session.run([job(size) for size in (4, 3, 2, 1)], Records(), Budget(3, seconds=55))
    assert [outcome.state for outcome in outcomes] == ["tuned", "tuned", "left", "left"]
    assert [record.workload["size"] for record in good_records(file)] == [4, 3]
    assert ("tune kernels", 1, 2) in told, "the estimate counts what the time allows, not what there is"


def test_a_schedule_that_dies_is_noted_and_never_chosen(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    outcomes = Session(KnownBench(fails=[2]), PURPOSE, file).run([job(1), job(2, tiles=[2])], Records(), EVERYTHING)
    (record,) = good_records(file)
    assert record.schedule == {"tile": 1}
    assert [outcome.state for outcome in outcomes] == ["tuned", "failed"]
    assert all("status -6" in outcome.failures[0] for outcome in outcomes)


def test_the_table_adds_up_kernels_by_block(tmp_path: Path) -> None:
    jobs = [job(1, calls=2), job(2)]
    outcomes = Session(KnownBench(), PURPOSE, tmp_path / "records.jsonl").run(jobs, Records(), EVERYTHING)
    rows = block_rows(outcomes, [kernel for item in reversed(jobs) for kernel in item.kernels])
    assert [row.block for row in rows] == ["stage2/b0.conv", "stage1/b0.conv", "stage1/b1.conv"]
    assert (rows[0].before, rows[0].after, rows[0].tuned) == (0.202, 0.2, 1)


def test_killed_it_goes_on_behind_the_last_record(tmp_path: Path) -> None:
    """kill -9 in the middle of the third job: two records are there, and the next run measures the others only."""
    file = tmp_path / "records.jsonl"
    code = f"""
import sys, time
from pathlib import Path
from tests.tuning.sessions import KnownBench, job
from tests.tuning.test_session import EVERYTHING, PURPOSE, Session, Records
seen = []
def slow(item):
    seen.append(item.subject)
    if len(seen) == 7:
        print("third", flush=True)
        time.sleep(60)
Session(KnownBench(slow), PURPOSE, Path({str(file)!r})).run([job(n) for n in (4, 3, 2, 1)], Records(), EVERYTHING)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "third\n"
        os.kill(child.pid, signal.SIGKILL)
    assert [record.workload["size"] for record in good_records(file)] == [4, 3]
    bench = KnownBench()
    outcomes = Session(bench, PURPOSE, file).run([job(n) for n in (4, 3, 2, 1)], known(file), EVERYTHING)
    assert [outcome.state for outcome in outcomes] == ["recorded", "recorded", "tuned", "tuned"]
    assert {size for size, _ in bench.order} == {1, 2}
    assert sorted(record.workload["size"] for record in good_records(file)) == [1, 2, 3, 4]


@pytest.mark.parametrize("moment_s", [0.0, 0.02, 0.05])
def test_killed_at_any_moment_every_line_that_is_there_is_whole(moment_s: float, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    code = f"""
from pathlib import Path
from tests.tuning.sessions import record
from mdcompiler.tuning.record_file import append_record
for size in range(100000):
    append_record(Path({str(file)!r}), record(size))
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=_ROOT) as child:
        while not file.exists():
            time.sleep(0.01)
        time.sleep(moment_s)
        os.kill(child.pid, signal.SIGKILL)
    sizes = [record.workload["size"] for record in good_records(file)]
    assert sizes == list(range(len(sizes)))

"""Ratios, tables, sections and plots from made-up results, and the comparison of outputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdcompiler.tolerance import Allowance
from tests.benchmarks import report
from tests.benchmarks.agreement import check_ours, describe
from tests.benchmarks.peer_worker import busy_threads
from tests.benchmarks.plot import chart
from tests.benchmarks.result import Result, contests
from tests.benchmarks.subjects import Subject

TIMES, SLOWER, FASTER = (3.0, 2.0, 4.0), (9.0, 6.0, 7.0), (5.0, 4.0, 6.0)
OURS = Result("net", "fp32", 1, "mdcompiler", TIMES, TIMES, 1.0, 2.0, 30.0, 20.0, 1, 2**20, "equal", 2**19)
SLOW = replace(OURS, runtime="onnxruntime", times_ms=SLOWER, cpu_ms=SLOWER, arena_bytes=None)
FAST = replace(OURS, runtime="ncnn", times_ms=FASTER, cpu_ms=(10.0,), arena_bytes=None)


def test_the_ratio_is_to_the_best_peer_that_computes_the_same() -> None:
    (contest,) = contests([OURS, SLOW, FAST])
    assert (contest.best_peer, contest.ratio, contest.min_ratio) == ("ncnn", 3.0 / 5.0, 2.0 / 4.0)
    assert contest.cpu_ratio == 3.0 / 7.0, "the peer that needs the least processor time may be another one"
    (honest,) = contests([OURS, SLOW, replace(FAST, difference="3e-1 of the range WRONG")])
    assert (honest.best_peer, honest.ratio) == ("onnxruntime", 3.0 / 7.0)


def test_networks_precisions_and_threads_are_not_mixed() -> None:
    others = [replace(OURS, network="other"), replace(OURS, precision="int8"), replace(OURS, threads=2)]
    assert [len(item.results) for item in contests([OURS, *others, SLOW])] == [2, 1, 1, 1]


def test_tables_name_every_runtime() -> None:
    lines = report.time_table([OURS, SLOW, FAST]).splitlines()
    assert lines[0].startswith("| network | mdcompiler | onnxruntime | ncnn | best peer |")
    assert lines[2] == "| net | 3.00 (2.00) | 7.00 (6.00) | 5.00 (4.00) | ncnn | **0.60** | 0.50 |"
    assert (
        report.size_table([OURS]).splitlines()[2]
        == "| net | mdcompiler | 1.0 | 2.0 | 30.0 | 20.0 | 1.0 | 0.50 | 1 | equal |"
    )


def test_a_section_replaces_the_one_with_its_heading(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    path.write_text("# Measurements\n\n## Speed: fp32, 1 thread\n\nold\n\n## Accuracy\n\nkept\n")
    for _ in range(2):
        report.write([OURS, FAST], "the machine", path)
    text = path.read_text()
    assert "old" not in text
    assert text.index("## Speed: fp32, 1 thread") < text.index("the machine") < text.index("## Accuracy\n\nkept\n")
    assert text.count("## Speed") == 1
    assert "(peers-fp32-1.svg)" in text
    assert (tmp_path / "peers-fp32-1.svg").read_text().startswith("<svg")


def test_the_plot_cuts_bars_that_are_too_tall_and_says_their_number() -> None:
    text = chart(contests([OURS, FAST, replace(SLOW, times_ms=(50.0,))]), "a < b")
    assert ">10.00<" in text
    assert "a &lt; b" in text
    assert 'height="-' not in text


ALLOWED = {"int8": {}, "fp32": {"a": Allowance.measured(1.0, 1e-6)}}


def subject(precision: str, expected: dict[str, Any]) -> Subject:
    nothing: Any = None
    return Subject("net", precision, Path(), nothing, np.zeros((1, 2, 2, 3), np.uint8), expected, ALLOWED[precision])


def test_our_integers_must_be_equal() -> None:
    want = np.linspace(0, 1, 256, dtype=np.float32)
    off = want.copy()
    off[7] += 1 / 255
    check_ours(subject("int8", {"a": want}), {"a": want.copy()})
    with pytest.raises(SystemExit, match="net int8: a is wrong"):
        check_ours(subject("int8", {"a": want}), {"a": off})
    assert describe(subject("int8", {"a": want}), {"a": off}) == "0.4% of values, at most 0.4% of the range"


def test_floats_may_differ_within_the_tolerance() -> None:
    want = np.linspace(0, 1, 100, dtype=np.float32)
    near, far = want + np.float32(1e-5), want + np.float32(1e-2)
    check_ours(subject("fp32", {"a": want}), {"a": near})
    with pytest.raises(SystemExit, match=r"a is wrong: is off by 0\.01"):
        check_ours(subject("fp32", {"a": want}), {"a": far})
    assert describe(subject("fp32", {"a": want}), {"a": near}) == "1.0e-05 of the range"
    assert describe(subject("fp32", {"a": want}), {"a": far}) == "1.0e-02 of the range WRONG"


def test_threads_that_idle_are_not_counted() -> None:
    before = {"1": 500, "2": 900}
    assert busy_threads(before, {"1": 1500, "2": 950}) == 1
    assert busy_threads(before, {"1": 1500, "2": 950, "3": 800}) == 2

"""Sharing and planning of memory: nothing that lives at the same time overlaps, nothing is copied in vain."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.backends.clib.alias import Aliases, share_memory
from mdcompiler.backends.clib.plan import buffer_lifetimes, plan_arena
from mdcompiler.backends.clib.program import Call, Program, View
from mdcompiler.errors import InternalError


def call(reads: str, writes: str, in_place: bool = False) -> Call:
    return Call("kernel", "f({0})", tuple(reads.split()), tuple(writes.split()), in_place=in_place)


def program(*steps: Call | View, sizes: str, outputs: str = "y") -> Program:
    made = Program(inputs=["x"], outputs=outputs.split(), steps=list(steps))
    made.sizes.update(dict.fromkeys(sizes.split(), 64))
    return made


def test_a_concat_of_reshapes_ends_in_the_callers_memory() -> None:
    parts = [View("concat", f"row{i}", "y", 64 * i, 64, part_is_new=False) for i in range(2)]
    reshapes = [View("reshape", f"row{i}", f"head{i}", 0, 64, part_is_new=True) for i in range(2)]
    aliases, calls = share_memory(
        program(call("x", "head0"), call("x", "head1"), *reshapes, *parts, sizes="head0 head1 row0 row1")
    )
    assert len(calls) == 2, "no copy was needed"
    assert [aliases.place(f"head{i}") for i in range(2)] == [("y", 0), ("y", 64)]


def test_a_tensor_that_is_concatenated_twice_is_copied_once() -> None:
    steps = [View(f"concat{i}", "a", f"y{i}", 0, 64, part_is_new=False) for i in range(2)]
    _, calls = share_memory(program(call("x", "a"), *steps, sizes="a", outputs="y0 y1"))
    assert sorted(item.code.split("(")[0] for item in calls) == ["f", "mdc_copy"]


def test_an_input_is_never_written() -> None:
    view = View("reshape", "row", "x", 0, 64, part_is_new=True)
    aliases, calls = share_memory(program(view, call("row", "y", in_place=True), sizes="row"))
    assert aliases.place("row") == ("y", 0)
    assert calls[0].code == "mdc_copy({1}, {0} + 0, 64)"


def test_in_place_only_when_nothing_reads_the_input_later() -> None:
    once = program(call("x", "a"), call("a", "y", in_place=True), sizes="a")
    assert share_memory(once)[0].place("a") == ("y", 0)
    later = program(call("x", "a"), call("a", "b", in_place=True), call("a b", "y"), sizes="a b")
    assert share_memory(later)[0].place("a") == ("a", 0)


def test_in_place_counts_readers_of_reshapes_of_the_input() -> None:
    view = View("reshape", "row", "a", 0, 64, part_is_new=True)
    steps = (call("x", "a"), view, call("row", "b", in_place=True), call("a b", "y"))
    aliases, _ = share_memory(program(*steps, sizes="a row b"))
    assert aliases.place("row")[0] != aliases.place("b")[0]


def test_the_plan_reuses_memory_and_reaches_the_lower_bound() -> None:
    calls = [call("x", "a"), call("a", "b"), call("b", "c"), call("c", "y")]
    plan = plan_arena(calls, {"a": 100, "b": 50, "c": 100}, Aliases(), 64)
    assert plan.offsets["a"] == plan.offsets["c"]
    assert plan.arena_bytes == plan.lower_bound_bytes == 192


def test_an_overlap_is_found() -> None:
    from mdcompiler.backends.clib import plan as planner

    lifetimes = buffer_lifetimes([call("x", "a"), call("a", "b")], {"a": 64, "b": 64}, Aliases(), 64)
    with pytest.raises(InternalError, match="lets b and a overlap"):
        planner._check([(0, lifetimes[0]), (32, lifetimes[1])])


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 8), st.integers(0, 4)), min_size=1, max_size=30))
def test_no_plan_overlaps_or_beats_the_bound(buffers: list[tuple[int, int, int]]) -> None:
    sizes = {f"b{i}": size for i, (size, _, _) in enumerate(buffers)}
    length = max(first + extra for _, first, extra in buffers) + 1
    uses = [
        " ".join(f"b{i}" for i, (_, first, extra) in enumerate(buffers) if at in (first, first + extra))
        for at in range(length)
    ]
    calls = [call(names, "") for names in uses]
    plan = plan_arena(calls, sizes, Aliases(), 16)  # raises on an overlap
    assert plan.arena_bytes >= plan.lower_bound_bytes
    assert all(offset % 16 == 0 for offset in plan.offsets.values())

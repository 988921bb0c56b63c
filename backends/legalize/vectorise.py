"""Two cheap rewrites that let LLVM vectorise what Relax wrote: an inlining and an order of loops.

1. An element-wise step that one other element-wise step reads is inlined: one pass over memory less.
2. A reduction gets its last output axis innermost and its initialisation in a nest of its own:
   LLVM may not reorder a float sum, but it can run neighbouring sums side by side.

    for y, x, k: c[y, x] += a[y, k] * b[k, x]   ->   for y, x: c = 0;  for y, k, x: c[y, x] += …
"""

from __future__ import annotations

import math
from typing import Any

from tvm.s_tir import SBlockRealize, Schedule
from tvm.s_tir.schedule import ScheduleError
from tvm.tirx import IntImm, IterVar, PrimFunc


def vectorise(function: PrimFunc) -> PrimFunc:
    """`function` with both rewrites where they apply; the same numbers except for the order of float sums."""
    if not _is_blocks(function):
        return function
    schedule = Schedule(function)
    for step in (_inline, _order_reduction):
        for block in schedule.get_child_blocks(schedule.get_sblock("root")):
            schedule = _attempt(schedule, step, schedule.get(block).name_hint)
    return schedule.mod["main"]


def _is_blocks(function: PrimFunc) -> bool:
    """Whether TVM can schedule it: a root block, static shapes (some operators are written as plain loops)."""
    if not isinstance(function.body, SBlockRealize) or function.body.block.name_hint != "root":
        return False
    buffers = [*function.params, *function.body.block.alloc_buffers]
    return all(isinstance(extent, IntImm) for buffer in buffers for extent in buffer.shape)


def _attempt(schedule: Any, step: Any, block: str) -> Any:
    """`schedule` after `step`, or as it was where TVM finds the step not applicable."""
    trial = schedule.copy()
    try:
        step(trial, trial.get_sblock(block))
    except ScheduleError:
        return schedule
    return trial


def _inline(schedule: Any, block: Any) -> None:
    consumers = schedule.get_consumers(block)
    if len(consumers) != 1 or _reduces(schedule, block) or _reduces(schedule, consumers[0]):
        return
    # A step with fewer elements than its consumer is broadcast: inlining would repeat its work.
    if _elements(schedule, block) >= _elements(schedule, consumers[0]):
        schedule.compute_inline(block)


def _order_reduction(schedule: Any, block: Any) -> None:
    axes = schedule.get(block).iter_vars
    loops = schedule.get_loops(block)
    if not _reduces(schedule, block) or len(axes) != len(loops):
        return
    reduced = [loop for loop, axis in zip(loops, axes, strict=True) if axis.iter_type == IterVar.CommReduce]
    spatial = [loop for loop, axis in zip(loops, axes, strict=True) if axis.iter_type == IterVar.DataPar]
    if not spatial or int(schedule.get(spatial[-1]).extent) == 1:
        return
    schedule.reorder(*spatial[:-1], *reduced, spatial[-1])
    schedule.decompose_reduction(block, reduced[0])


def _reduces(schedule: Any, block: Any) -> bool:
    return any(axis.iter_type != IterVar.DataPar for axis in schedule.get(block).iter_vars)


def _elements(schedule: Any, block: Any) -> int:
    return math.prod(int(extent) for extent in schedule.get(block).writes[0].source.shape)

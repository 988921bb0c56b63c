"""The chip's parameter memory: what stays, what streams."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mdcompiler.backends.edgetpu.memory_plan import plan_memory, widest_moment
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator, TfliteTensor

KIB = 1024
OWNERS = ("first", "second", "third")


def graph() -> TfliteGraph:
    """Three convolutions in a row with 4, 8 and 2 KiB of parameters, and tensors of 1, 3, 2 and 1 KiB."""
    tensors = [TfliteTensor(f"t{index}", (1, 1, KIB * size, 1), "INT8") for index, size in enumerate((1, 3, 2, 1))]
    operators = []
    for index, size in enumerate((4, 8, 2)):
        weight, bias = np.zeros(size * KIB - 64, np.int8), np.zeros(16, np.int32)
        tensors.append(TfliteTensor(f"w{index}", weight.shape, "INT8", data=weight))
        tensors.append(TfliteTensor(f"b{index}", bias.shape, "INT32", data=bias))
        operators.append(TfliteOperator(index, "CONV_2D", (index, 4 + 2 * index, 5 + 2 * index), (index + 1,)))
    return TfliteGraph(Path("x.tflite"), tuple(tensors), tuple(operators), (0,), (3,))


def test_the_widest_moment_holds_what_is_alive() -> None:
    assert widest_moment(graph(), graph().operators) == (3 + 2) * KIB


@pytest.mark.parametrize(
    ("capacity_kib", "resident", "streamed"),
    [
        (5 + 14, ("first", "second", "third"), ()),
        (5 + 13, ("first", "second"), ("third",)),
        (5 + 4, ("first",), ("second", "third")),
        (5 + 3, (), ("first", "second", "third")),
        (2, (), ("first", "second", "third")),
    ],
)
def test_parameters_fill_what_activations_leave(
    capacity_kib: int, resident: tuple[str, ...], streamed: tuple[str, ...]
) -> None:
    plan = plan_memory(graph(), OWNERS, [True] * 3, capacity_kib * KIB)
    assert tuple(name for name, _ in plan.resident) == resident
    assert tuple(name for name, _ in plan.streamed) == streamed
    assert plan.resident_bytes + plan.streamed_bytes == 14 * KIB
    assert plan.as_dict()["streamed"] == list(streamed)


def test_what_the_host_runs_takes_no_room() -> None:
    plan = plan_memory(graph(), OWNERS, [True, False, True], 100 * KIB)
    assert plan.resident == (("first", 4 * KIB), ("third", 2 * KIB))

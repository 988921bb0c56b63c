"""Every documented limit: an operator past it, what is said, and what the file then maps to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdcompiler.backends.edgetpu import status
from mdcompiler.backends.edgetpu.mapping import predict, table
from mdcompiler.backends.edgetpu.rules import RULES, broken_rule
from mdcompiler.backends.tflite.described import Described, DescribedTensor
from mdcompiler.weights.tflite_graph import TfliteGraph, TfliteOperator, TfliteTensor
from mdcompiler.weights.tflite_head import POSTPROCESS

_PICTURE = (1, 8, 8, 16)


def data(shape: tuple[int, ...] = _PICTURE, word: str = "INT8", name: str = "x") -> DescribedTensor:
    return DescribedTensor(name, shape, word)


def constant(values: Any, word: str = "INT8") -> DescribedTensor:
    array = np.asarray(values)
    return DescribedTensor("c", array.shape, word, array)


def operator(kind: str, *inputs: DescribedTensor, output: DescribedTensor | None = None, **options: Any) -> Described:
    return Described(kind, "C1/b0", inputs or (data(),), (output or data(name="y"),), **options)


WEIGHTS = constant(np.ones((16, 3, 3, 16)))
PAST_THE_LIMIT = {
    "eight bit integers": (operator("ADD", data(word="INT16")), "x is INT16; compile with `--precision int8`"),
    "integer input": (operator("QUANTIZE", data(word="FLOAT32")), "the input is float"),
    "known operator": (
        operator("HARD_SWISH"),
        "HARD_SWISH is none of its operators; give the block `activation: relu6`",
    ),
    "known version": (operator("CONV_2D", data(), WEIGHTS, version=6), "its version 6 is unknown to the compiler"),
    "constant shapes": (operator("ADD", data((1, 0, 8, 16))), r"x has the shape \[1, 0, 8, 16\]"),
    "three inner axes": (operator("ADD", data((2, 8, 8, 16))), "compile for a batch of one picture"),
    "constant weights": (operator("CONV_2D", data(), data(name="w")), "w is computed"),
    "equal dilation": (operator("CONV_2D", data(), WEIGHTS, dilation=(1, 2)), "dilates by 1 rows and 2 columns"),
    "no fused activation": (operator("MAX_POOL_2D", activation="RELU6"), "RELU6 is fused into it"),
    "zero padding concatenation": (
        operator("CONCATENATION", data(), constant(np.ones(_PICTURE))),
        "it joins 2 tensors, of which c is a constant",
    ),
    "mean over the picture": (operator("MEAN", data(), constant([0, 1], "INT32")), "mean over the batch"),
    "no batch padding": (operator("PAD", data(), constant([[1, 0], [0, 0]], "INT32")), "it pads the batch"),
    "flat softmax": (operator("SOFTMAX"), "end the network with a sigmoid"),
}
WITHIN = [
    operator("CONV_2D", data(), WEIGHTS, dilation=(2, 2), version=3),
    operator("CONCATENATION", data(), constant(np.zeros(_PICTURE))),
    operator("CONCATENATION", data(), data(), data()),
    operator("MEAN", data(), constant([1, 2], "INT32")),
    operator("MEAN", data(), constant([-1], "INT32")),
    operator("PAD", data(), constant([[0, 0], [1, 1]], "INT32")),
    operator("SOFTMAX", data((1, 1, 1, 90))),
    operator("QUANTIZE", data(word="UINT8")),
    operator("ADD", data((1, 1, 8, 8, 16))),
]


@pytest.mark.parametrize("name", PAST_THE_LIMIT)
def test_every_limit_has_its_reason(name: str) -> None:
    described, said = PAST_THE_LIMIT[name]
    broken = broken_rule(described)
    assert broken is not None
    rule, reason = broken
    assert rule.name == name
    with pytest.raises(ValueError, match=said):
        raise ValueError(reason)


def test_every_rule_is_tried_and_documented() -> None:
    assert {rule.name for rule in RULES} == set(PAST_THE_LIMIT)
    assert all(rule.limit.endswith(".") and "\n" not in rule.limit for rule in RULES)


@pytest.mark.parametrize("described", WITHIN, ids=lambda item: item.kind)
def test_within_the_limits(described: Described) -> None:
    assert broken_rule(described) is None


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (operator(POSTPROCESS), "boxes are decoded and suppressed in float"),
        (operator("DEQUANTIZE", output=data(word="FLOAT32")), "makes floats, for the host's post-processing"),
        (operator("HARD_SIGMOID"), "gate `sigmoid`"),
        (operator("GROUPED_CONV_2D"), "one group, or one for each channel"),
        (operator("SOFTPLUS"), "SOFTPLUS is none of its operators"),
        (
            operator("MEAN", data((1, 8, 8, 6)), constant([3], "INT32")),
            "mean over 6 channels; make them a multiple of 4",
        ),
        (operator("CONCATENATION", data(), data(), constant(np.zeros(_PICTURE))), "it joins 3 tensors"),
    ],
)
def test_reasons_name_the_change(described: Described, said: str) -> None:
    broken = broken_rule(described)
    assert broken is not None
    assert said in broken[1]


def chain(*operators: tuple[str, str, int, int]) -> TfliteGraph:
    """A graph of (kind, type of the output, number of the input, number of the output)."""
    count = max(output for *_, output in operators) + 1
    words = {output: word for _, word, _, output in operators}
    tensors = [TfliteTensor(f"t{index}", _PICTURE, words.get(index, "INT8")) for index in range(count)]
    rows = [TfliteOperator(place, kind, (source,), (made,)) for place, (kind, _, source, made) in enumerate(operators)]
    return TfliteGraph(Path("x.tflite"), tuple(tensors), tuple(rows), (0,), (count - 1,))


def test_what_follows_an_unmapped_operator_runs_on_the_host() -> None:
    verdicts = predict(
        chain(("RELU", "INT8", 0, 1), ("HARD_SWISH", "INT8", 1, 2), ("ADD", "INT8", 2, 3), ("MUL", "INT8", 3, 4))
    )
    assert table(verdicts) == (
        ("ADD", 1, status.SECOND_SUBGRAPH),
        ("HARD_SWISH", 1, status.NOT_SUPPORTED),
        ("MUL", 1, status.SECOND_SUBGRAPH),
        ("RELU", 1, status.MAPPED),
    )
    assert verdicts[3].reason == "it comes after t2, which runs on the host, and only the part before that is mapped"


def test_a_branch_beside_an_unmapped_operator_is_mapped() -> None:
    verdicts = predict(chain(("RELU", "INT8", 0, 1), ("HARD_SWISH", "INT8", 1, 2), ("ADD", "INT8", 1, 3)))
    assert [verdict.mapped for verdict in verdicts] == [True, False, True]


def test_a_float_input_does_not_end_the_mapped_part() -> None:
    graph = chain(("QUANTIZE", "INT8", 0, 1), ("RELU", "INT8", 1, 2))
    entered = TfliteTensor("t0", _PICTURE, "FLOAT32")
    graph = TfliteGraph(graph.path, (entered, *graph.tensors[1:]), graph.operators, (0,), (2,))
    assert [verdict.status for verdict in predict(graph)] == [status.UNSPECIFIED, status.MAPPED]


def test_the_readme_lists_every_limit() -> None:
    readme = Path(__file__).resolve().parents[3] / "examples" / "edgetpu" / "README.md"
    listed = readme.read_text()
    for rule in RULES:
        assert f"| {rule.limit.rstrip('.')} | {rule.status} |" in listed

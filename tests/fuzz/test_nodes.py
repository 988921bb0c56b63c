"""A sample of ONNX's own node tests, and the page about all of them."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fuzz.farm import Farm
from tests.fuzz.node_page import counts_in, page
from tests.fuzz.node_tests import node_tests
from tests.fuzz.outcome import Outcome

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "onnx-operators.md"
_SAMPLE = (
    "test_relu",
    "test_add_bcast",
    "test_conv_with_strides_padding",
    "test_reshape_extended_dims",
)


def test_a_sample_is_right_or_refused() -> None:
    with Farm("nodes", {}) as farm:
        found = {name: farm.run(name) for name in _SAMPLE}
    assert [name for name, outcome in found.items() if outcome.failed] == []
    assert [found[name].verdict for name in _SAMPLE[:2]] == ["right", "right"]
    assert counts_in(page(found))[0] >= 2


def test_the_page_counts_what_its_table_says() -> None:
    text = _PAGE.read_text()
    rows = [list(map(int, row)) for row in re.findall(r"^\| \w+ \| (\d+) \| (\d+) \| (\d+) \|", text, re.MULTILINE)]
    assert counts_in(text) == tuple(map(sum, zip(*rows, strict=True)))


def test_a_page_of_three_tests() -> None:
    names = list(node_tests())[:3]
    outcomes = dict(zip(names, (Outcome("right"), Outcome("refused", "mdc: a reason."), Outcome("hang")), strict=True))
    assert counts_in(page(outcomes)) == (1, 1, 1)
    assert "a reason." in page(outcomes)

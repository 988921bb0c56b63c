"""The section on instructions is made of the counts, and a peer that cannot be counted is named with its reason."""

from __future__ import annotations

from mdcompiler.backends.arm.instructions import Count
from tests.benchmarks.arm_instructions import TITLE, Row, body, parser, totals_table
from tests.benchmarks.report import replace_section

BLOCKS = [Count("C1/b0.conv", 3_000_000, 1_500_000, 600_000), Count("head/l0", 1_000_000, 900_000, 50_000)]
FLOAT = Row("net", "fp32", BLOCKS, None, {"ncnn": 5_000_000, "onnxruntime": 8_000_000})
INT8 = Row("net", "int8", BLOCKS, 2_500_000, {"ncnn": "its converter reads none", "onnxruntime": 3_200_000})


def test_the_ratio_is_to_the_peer_with_the_fewest() -> None:
    assert FLOAT.ratio == 0.8
    assert INT8.ratio == 1.25
    assert Row("net", "int8", BLOCKS, None, {"ncnn": "no"}).ratio is None


def test_every_row_of_the_table_has_its_cells() -> None:
    lines = totals_table([FLOAT, INT8]).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2] == "| net | fp32 | 4.00 |  | 5.00 | 8.00 | **0.80** |"
    assert lines[3] == "| net | int8 | 4.00 | 2.50 |  | 3.20 | **1.25** |"


def test_the_section_takes_the_place_of_an_older_one() -> None:
    text = body([Row("net", "int8", BLOCKS, 2_500_000, {})], parser().parse_args([]))
    refused = body([Row("net", "int8", BLOCKS, None, {"absent": "its converter reads none"})], parser().parse_args([]))
    assert "| C1/b0.conv | 3.00 | 50% | 20% |" in text
    assert "- absent, int8: its converter reads none" in refused
    once = replace_section("# Measurements\n\n## Other\n\nkept\n", TITLE, text)
    twice = replace_section(once, TITLE, refused)
    assert once.count(TITLE) == twice.count(TITLE) == 1
    assert "## Other\n\nkept" in twice
    assert "its converter reads none" in twice

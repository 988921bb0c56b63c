"""The README's table of pairs: written by a command, and not short of a network, a backend or a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdcompiler.errors import TargetError
from mdcompiler.matrix import Matrix, PairRow
from mdcompiler.matrix.markdown import BEGIN, END, as_markdown
from mdcompiler.matrix.report import Verdict
from mdcompiler.target import find_target, shipped_targets

README = Path(__file__).resolve().parents[2] / "README.md"
NETWORKS = ["mobiledet-cpu", "mobiledet-edgetpu", "mobiledet-dsp", "mobiledet-gpu"]
SOUND = ("bit for bit", "tolerance", "compiled only", "refused")
NO_MACHINE = "null"
CELL = re.compile(r"(?P<verdict>[a-z ]+?)( \((?P<precision>fp32|int8)\))?( \[(?P<reason>\d+)\])?")


def faults(table: str, backends: set[str]) -> Iterator[str]:
    """What is wrong with a table: networks across, targets down, then reasons."""
    head, rule, *rest = table.strip().splitlines()
    if head != f"| | {' | '.join(NETWORKS)} |" or not rule.startswith("|---"):
        yield f"its head is {head}"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in rest if line.startswith("|")]
    reasons = {line.partition(".")[0] for line in rest if re.match(r"\d+\. \S", line)}
    yield from (f"no row of a target of {name}" for name in sorted(backends - {_backend(row[0]) for row in rows}))
    for row in rows:
        yield from (f"{row[0]}: {cell!r}" for cell in row[1:] if not _is_sound(cell, reasons))


def _backend(cell: str) -> str:
    name, _, precision = cell.strip("`").partition(":")
    assert precision in ("", "fp32", "int8"), cell
    try:
        return find_target(name).backend
    except TargetError:
        return ""


def _is_sound(cell: str, reasons: set[str]) -> bool:
    """A pair is verified, or has a reason that is given."""
    found = CELL.fullmatch(cell)
    if found is None or found["verdict"] not in SOUND:
        return False
    needs = found["verdict"] in ("compiled only", "refused")
    return found["reason"] in reasons if found["reason"] else not needs


def shipped_backends() -> set[str]:
    return {target.backend for target in shipped_targets().values()} - {NO_MACHINE}


def test_the_readme_has_every_network_on_every_backend() -> None:
    if not README.is_file() or BEGIN not in README.read_text():
        pytest.skip("the README has no table of pairs")
    table = README.read_text().partition(BEGIN)[2].partition(END)[0]
    assert list(faults(table, shipped_backends())) == []


def test_faults_of_a_table_are_found() -> None:
    targets: dict[str, Verdict] = {
        "cpu": "tolerance",
        "arm64": "bit for bit",
        "arm64:int8": "bit for bit",
        "edgetpu": "refused",
    }
    rows = [
        PairRow(network=name, target=target, precision="int8", verdict=verdict, reason="why" * (verdict == "refused"))
        for name in NETWORKS
        for target, verdict in targets.items()
    ] + [PairRow(network=name, target="null", verdict="tolerance") for name in NETWORKS]
    good = as_markdown(Matrix(pairs=tuple(rows)))
    known = {find_target(name).backend for name in ("cpu", "edgetpu", "arm64")}
    assert list(faults(good, known)) == []
    assert list(faults(good, {*known, "htp"})) == ["no row of a target of htp"]
    for old, new in (("mobiledet-dsp |", "|"), ("tolerance", "differs"), ("[1]", "[2]"), (" [1]", ""), ("1. why", "")):
        assert list(faults(good.replace(old, new, 1), known)), old

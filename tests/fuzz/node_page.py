"""`docs/onnx-operators.md`: what became of ONNX's own node tests, operator by operator."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

import onnx

from tests.fuzz.node_tests import node_tests, operator_of
from tests.fuzz.outcome import Outcome

_MOST_CHARACTERS = 150
_ABOUT = """\
The node tests of onnx {version} through the whole of `mdc compile --target cpu`, then run on the inputs that they bring
and compared with the outputs that they expect, within ONNX's own tolerances. Many hand over as inputs what is constant
in a network (axes, shapes, sizes); a compiler with static shapes refuses these."""
_ODD = re.compile(r"^.*?\.onnx: |node '[^']*' \([^)]*\): |kernel '[^']*', |'[^']*'")


def page(outcomes: Mapping[str, Outcome], note: str = "") -> str:
    """The page as Markdown. outcomes: of each test by its name. note: from which runs they are."""
    rows: dict[str, list[Outcome]] = defaultdict(list)
    for name, outcome in outcomes.items():
        rows[operator_of(name)].append(outcome)
    counts = Counter(_column(outcome) for outcome in outcomes.values())
    right, refused, wrong = (counts[column] for column in ("right", "refused", "wrong"))
    lines = [
        "# ONNX's own tests of its operators",
        "",
        _ABOUT.format(version=onnx.__version__),
        "",
        f"Of {len(node_tests()):,} tests with plain tensors {len(outcomes):,} were run:",
        f"**{right:,} right, {refused:,} refused with a reason, {wrong:,} wrong or broken**.",
        *([note] if note else []),
        "",
        "Written by `python -m tests.fuzz nodes --state FILE --page docs/onnx-operators.md`.",
        "",
        "| operator | right | refused | wrong | the most frequent reason |",
        "|---|---:|---:|---:|---|",
        *(_row(operator, rows[operator]) for operator in sorted(rows)),
    ]
    return "\n".join(lines) + "\n"


def counts_in(text: str) -> tuple[int, int, int]:
    """Right, refused and wrong as the head of a page states them."""
    found = re.search(r"\*\*([\d,]+) right, ([\d,]+) refused with a reason, ([\d,]+) wrong", text)
    assert found is not None, "the page has a head"
    right, refused, wrong = (int(count.replace(",", "")) for count in found.groups())
    return right, refused, wrong


def _column(outcome: Outcome) -> str:
    return outcome.verdict if outcome.verdict in ("right", "refused") else "wrong"


def _row(operator: str, outcomes: list[Outcome]) -> str:
    counts = Counter(_column(outcome) for outcome in outcomes)
    reasons = Counter(_reason(outcome) for outcome in outcomes if outcome.verdict != "right")
    reason = reasons.most_common(1)[0][0] if reasons else ""
    return f"| {operator} | {counts['right']} | {counts['refused']} | {counts['wrong']} | {reason} |"


def _reason(outcome: Outcome) -> str:
    """The first sentence of a refusal without the names of this one test."""
    lines = [line for line in outcome.text.splitlines() if line and not line.endswith("…")]
    text = _ODD.sub("", lines[0].removeprefix("mdc: ")) if lines else outcome.verdict
    sentence = " ".join(re.split(r"(?<=[.;]) |: Export", text)[0].split()).replace("|", "/")
    return sentence if len(sentence) <= _MOST_CHARACTERS else f"{sentence[: _MOST_CHARACTERS - 1]}…"

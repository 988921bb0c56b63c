"""The text, the page and the Markdown table that a matrix becomes."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from mdcompiler.matrix import BlockRow, Matrix, PairRow, write_reports
from mdcompiler.matrix.markdown import as_markdown
from mdcompiler.matrix.page import as_page
from mdcompiler.matrix.text import WIDTH, as_text
from tests.matrix.matrices import BAD_NAME, MATRIX

VOID = ("meta", "br")


class Checker(HTMLParser):
    """Every element is closed in order; what the page shows and loads is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def page() -> Checker:
    checker = Checker()
    checker.feed(as_page(MATRIX))
    checker.close()
    return checker


def test_the_page_is_whole_and_says_what_is_wrong(page: Checker) -> None:
    assert page.open == []
    assert BAD_NAME in page.texts, "escaped, not taken for markup"
    assert "b" in page.seen, "targets of explanations are bold"
    for text in ("differs", "first diverging block: C2/b0.ibn", "no phone | here", "A note for all.", "3 ✗"):
        assert any(text in shown for shown in page.texts), text


def test_the_page_needs_nothing_from_anywhere(page: Checker) -> None:
    assert not {"script", "link", "img", "iframe"} & set(page.seen)
    links = [value for name, value in page.attributes if name in ("src", "href")]
    assert links
    assert all(value is not None and value.startswith("#") for value in links)
    style = as_page(MATRIX).partition("<style>")[2].partition("</style>")[0]
    assert "prefers-color-scheme: dark" in style
    assert "url(" not in style
    assert "@import" not in style


def many() -> Matrix:
    """More targets and longer names than fit beside one another."""
    blocks = tuple(BlockRow(block=f"C{i}/b0.a-very-long-kind-of-a-block", steps=i, cost=12345678.0) for i in range(3))
    rows = [
        PairRow(
            network="net",
            target=f"target-{i}",
            precision="int8",
            verdict="failed",
            reason="word " * 90,
            unit="instructions",
            blocks=blocks,
        )
        for i in range(9)
    ]
    return Matrix(pairs=tuple(rows))


@pytest.mark.parametrize("matrix", [MATRIX, many()], ids=["one of every sort", "many"])
def test_the_text_fits_a_terminal(matrix: Matrix) -> None:
    lines = as_text(matrix).splitlines()
    assert max(map(len, lines)) <= WIDTH == 100
    for row in matrix.pairs:
        assert any(line.startswith(row.target) and row.verdict in line for line in lines)


def test_the_text_tells_blocks_apart() -> None:
    text = as_text(MATRIX)
    assert "C2/b0.ibn                -   3!" in text
    assert "500.0 µs" in text
    assert text.count("no such spec") == 1, "what two targets share is said once"
    assert "cpu, phone: no such spec" in text
    assert "C2/b0.ibn  " not in as_text(MATRIX, blocks=False)


def test_markdown_numbers_the_reasons() -> None:
    assert as_markdown(MATRIX).splitlines() == [
        "| | `cpu` | `dsp` | `phone` |",
        "|---|---|---|---|",
        f"| {BAD_NAME} | tolerance (fp32) | differs (int8) [1] | compiled only (fp32) [2] |",
        "| second | refused [3] |  | refused [3] |",
        "",
        "1. first diverging block: C2/b0.ibn",
        "2. no phone \\| here",
        "3. no such spec",
    ]


def test_json_can_be_read_back(tmp_path: Path) -> None:
    write_reports(MATRIX, tmp_path / "new")
    assert Matrix.model_validate_json((tmp_path / "new" / "matrix.json").read_bytes()) == MATRIX
    assert (tmp_path / "new" / "matrix.txt").read_text() == as_text(MATRIX)
    assert (tmp_path / "new" / "matrix.html").read_text() == as_page(MATRIX)

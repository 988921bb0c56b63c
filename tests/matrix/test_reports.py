"""The text, the page and the Markdown table that a matrix becomes."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from mdcompiler.errors import OutputError
from mdcompiler.matrix import BlockRow, Matrix, PairRow, write_reports
from mdcompiler.matrix.markdown import BEGIN, END, as_markdown, check_place, put_into
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
        f"| | {BAD_NAME} | second |",
        "|---|---|---|",
        "| `cpu` | tolerance (fp32) | refused [1] |",
        "| `dsp` | differs (int8) [2] |  |",
        "| `phone` | compiled only (fp32) [3] | refused [1] |",
        "",
        "1. no such spec",
        "2. first diverging block: C2/b0.ibn",
        "3. no phone \\| here",
    ]


def test_a_right_artifact_whose_second_build_is_wrong_says_so() -> None:
    block = BlockRow(block="C1/b0.conv", steps=9, diverges=True)
    row = PairRow(network="a", target="gpu", precision="int8", verdict="bit for bit", blocks=(block,))
    told = "first diverging block: C1/b0.conv, only in a build that has the tensors between blocks as outputs"
    for text in (as_markdown(Matrix(pairs=(row,))), as_page(Matrix(pairs=(row,)))):
        assert told in text


def test_the_page_tells_what_is_predicted_where_nothing_else_is_known() -> None:
    """And the unit of costs stands in the head of the grid, for a cell is narrow."""
    block = BlockRow(block="C1/b0.conv", cost=2e6, predicted_us=12.5, weight_bytes=2048, working_bytes=3 << 20)
    counted = PairRow(network="a", target="dsp", verdict="tolerance", unit="packets", blocks=(block,))
    free = block.model_copy(update={"cost": None})
    guessed = counted.model_copy(update={"target": "chip", "unit": "", "blocks": (free,)})
    page = as_page(Matrix(pairs=(counted, guessed)))
    assert 'dsp<br><span class="soft">packets</span>' in page
    assert 'chip<br><span class="soft">predicted</span>' in page
    for shown in ("2.0 M", "12.5 µs", "2.0 KiB", "3.0 MiB"):
        assert f">{shown}</" in page


def test_markdown_has_the_longer_side_down() -> None:
    rows = [PairRow(network=name, target="cpu", precision="fp32", verdict="bit for bit") for name in "ab"]
    assert as_markdown(Matrix(pairs=tuple(rows))).splitlines() == [
        "| | `cpu` |",
        "|---|---|",
        "| a | bit for bit (fp32) |",
        "| b | bit for bit (fp32) |",
    ]


def test_a_table_is_put_between_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nbehind\n")
    for table in ("| new |\n", "| newer |\n"):
        put_into(path, table)
        assert path.read_text() == f"before\n\n{BEGIN}\n\n{table}\n{END}\n\nbehind\n"


@pytest.mark.parametrize("text", ["", f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n"])
def test_a_file_without_one_place_stays_as_it_is(text: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(text)
    said = r"README\.md: it has \d lines .* Write one of each, in this order"
    with pytest.raises(OutputError, match=said):
        check_place(path)
    with pytest.raises(OutputError, match=said):
        put_into(path, "new")
    assert path.read_text() == text
    with pytest.raises(OutputError, match="cannot be read"):
        check_place(tmp_path / "none.md")


def test_json_can_be_read_back(tmp_path: Path) -> None:
    write_reports(MATRIX, tmp_path / "new")
    assert Matrix.model_validate_json((tmp_path / "new" / "matrix.json").read_bytes()) == MATRIX
    assert (tmp_path / "new" / "matrix.txt").read_text() == as_text(MATRIX)
    assert (tmp_path / "new" / "matrix.html").read_text() == as_page(MATRIX)

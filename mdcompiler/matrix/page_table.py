"""Tables of a page: cells, heads, and a frame in which a wide one scrolls by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from mdcompiler.matrix.report import GOOD, PairRow


def colour(row: PairRow) -> str:
    """The style of a pair's verdict."""
    return "good" if row.verdict in GOOD else "bad" if row.verdict in ("differs", "failed") else "plain"


def cell(text: str, style: str = "", head: bool = False) -> str:
    """head: it names its row."""
    if head:
        return f'<th scope="row">{escape(text)}</th>'
    return f'<td class="{style}">{escape(text)}</td>' if style else f"<td>{escape(text)}</td>"


def table(
    columns: Sequence[str], rows: Iterator[Iterator[str] | list[str]] | Sequence[list[str]], left: Sequence[str]
) -> str:
    """A framed table. left: columns whose head is flush left, beside the first."""
    heads = "".join(
        f'<th scope="col"{" class=left" if i == 0 or name in left else ""}>{escape(name)}</th>'
        for i, name in enumerate(columns)
    )
    return framed(heads, "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows))


def framed(heads: str, body: str) -> str:
    """A table that scrolls by itself where it is wider than the page."""
    return f'<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'

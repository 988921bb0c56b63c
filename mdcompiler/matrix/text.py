"""A matrix as plain text, at most a hundred columns wide: pairs, then blocks by target."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from mdcompiler.matrix.report import Matrix, PairRow
from mdcompiler.matrix.words import (
    NOTHING,
    amount,
    blocks_of,
    by_network,
    difference,
    explanations,
    milliseconds,
    size,
)

WIDTH = 100
_GAP = "  "
_LONGEST_NAME = 24
_COLUMNS = ("target", "type", "verified", "diff", "cost", "predicted", "arena", "files", "fall back")
_LEFT = 3


def as_text(matrix: Matrix, blocks: bool = True) -> str:
    """The tables. blocks: with those of the blocks."""
    parts = [*matrix.notes]
    for network, rows in by_network(matrix.pairs).items():
        parts += [f"{network}\n{'=' * len(network)}", "\n".join(_pairs(rows))]
        if blocks and blocks_of(rows):
            parts += ["\n".join(_blocks(rows))]
    parts.append(_LEGEND)
    return "\n\n".join("\n".join(_wrapped(part)) for part in parts) + "\n"


_LEGEND = (
    "diff: largest difference to the reference, in steps of the integers (int8) or relative to the range (fp32); "
    "! marks where it is more than allowed. cost: of one run. predicted: by the latency model of the target's chip. "
    "fall back: kernels without one of the backend's own, or left to the host."
)


def _pairs(rows: list[PairRow]) -> Iterator[str]:
    yield from _table(_COLUMNS, [_cells(row) for row in rows], _LEFT)
    found = explanations(rows)
    if found:
        yield ""
    for targets, text in found:
        yield from textwrap.wrap(f"{targets}: {text}", WIDTH, subsequent_indent="    ")


def _cells(row: PairRow) -> tuple[str, ...]:
    known = bool(row.blocks) and row.file_bytes is not None
    return (
        row.target,
        row.precision or NOTHING,
        row.verdict,
        difference(row),
        amount(row.cost, row.unit),
        milliseconds(row.predicted_ms),
        size(row.arena_bytes),
        size(row.file_bytes),
        str(row.fallbacks) if known or row.fallbacks else NOTHING,
    )


def _blocks(rows: list[PairRow]) -> Iterator[str]:
    """Difference and cost of every block, a column a target, as many columns at a time as fit."""
    names = blocks_of(rows)
    shown = [row for row in rows if row.blocks]
    for title, cell in (("difference", _difference_of), ("cost", _cost_of)):
        columns = [(row.target, [cell(row, name) for name in names]) for row in shown]
        columns = [(head, values) for head, values in columns if set(values) != {NOTHING}]
        for group in _fitting(columns, _LONGEST_NAME):
            yield ""
            table = [(_short(name), *(values[i] for _, values in group)) for i, name in enumerate(names)]
            yield from _table((f"block: {title}", *(head for head, _ in group)), table, 1)


def _difference_of(row: PairRow, name: str) -> str:
    block = next((item for item in row.blocks if item.block == name), None)
    return NOTHING if block is None else difference(block) + ("!" if block.diverges else "")


def _cost_of(row: PairRow, name: str) -> str:
    block = next((item for item in row.blocks if item.block == name), None)
    return NOTHING if block is None else amount(block.cost, row.unit)


def _fitting(columns: list[tuple[str, list[str]]], first: int) -> Iterator[list[tuple[str, list[str]]]]:
    group: list[tuple[str, list[str]]] = []
    used = first
    for head, values in columns:
        wide = max(map(len, (head, *values))) + len(_GAP)
        if group and used + wide > WIDTH:
            yield group
            group, used = [], first
        group.append((head, values))
        used += wide
    if group:
        yield group


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """left: how many columns are flush left."""
    widths = [max(len(row[i]) for row in (columns, *rows)) for i in range(len(columns))]
    rule = tuple("-" * width for width in widths)
    return [
        _GAP.join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (columns, rule, *rows)
    ]


def _wrapped(part: str) -> list[str]:
    """Lines of tables are made to fit; prose is one long line."""
    lines = part.split("\n")
    return textwrap.wrap(part, WIDTH) if len(lines) == 1 else lines

"""A matrix as one page of HTML that needs nothing from anywhere: no script, no font, no picture."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from mdcompiler.matrix.page_blocks import block_parts
from mdcompiler.matrix.page_style import STYLE
from mdcompiler.matrix.page_table import cell, colour, framed, table
from mdcompiler.matrix.report import Matrix, PairRow
from mdcompiler.matrix.words import NOTHING, amount, by_network, difference, explanations, milliseconds, size

_LEGEND = (
    "Difference: the largest to the reference, over all tensors between blocks: for int8 in steps of their integers, "
    "for floats relative to their range; of the outputs where these were not compared. Tensors between blocks come "
    "from a second build that has them as outputs; the verdict is of the artifact itself. Cost: of one run. Predicted: "
    "by the latency model of the target's chip. Weights: constants of the block; tensors: the most that one of its "
    "kernels reads and writes, both in the network's own types. Arena: working memory of one run. Falls back: kernels "
    "without one of the backend's own, or left to the host."
)
_PAIR_COLUMNS = (
    "target",
    "type",
    "verified",
    "difference",
    "cost",
    "predicted",
    "arena",
    "files",
    "falls back",
)


def as_page(matrix: Matrix) -> str:
    """The page."""
    networks = by_network(matrix.pairs)
    body = [f"<h1>Networks by targets</h1>\n<p>{_total(matrix)}</p>"]
    body += [f"<p>{escape(note)}</p>" for note in matrix.notes]
    body.append(_overview(networks))
    for index, (name, rows) in enumerate(networks.items()):
        body += [
            f'<section id="network-{index}">\n<h2>{escape(name)}</h2>',
            _pair_table(rows),
            _notes(rows),
            *block_parts(rows),
            "</section>",
        ]
    body.append(f'<p class="soft">{escape(_LEGEND)}</p>')
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Networks by targets</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _total(matrix: Matrix) -> str:
    counts: dict[str, int] = {}
    for row in matrix.pairs:
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
    return escape(f"{len(matrix.pairs)} pairs: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()) + ".")


def _overview(networks: dict[str, list[PairRow]]) -> str:
    """Targets by networks: every verdict, and the way to what is behind it."""
    heads = "".join(
        f'<th scope="col" class="left"><a href="#network-{i}">{escape(name)}</a></th>'
        for i, name in enumerate(networks)
    )
    targets = dict.fromkeys(row.target for rows in networks.values() for row in rows)
    body = "\n".join(f"<tr>{''.join(_overview_cells(target, networks))}</tr>" for target in targets)
    return framed(f'<th scope="col" class="left">target</th>{heads}', body)


def _overview_cells(target: str, networks: dict[str, list[PairRow]]) -> Iterator[str]:
    yield cell(target, head=True)
    for rows in networks.values():
        row = next((row for row in rows if row.target == target), None)
        precision = f' <span class="soft">{escape(row.precision)}</span>' if row else ""
        verdict = f'<span class="{colour(row)}">{escape(row.verdict)}</span>' if row else NOTHING
        yield f'<td class="left">{verdict}{precision}</td>'


def _pair_table(rows: list[PairRow]) -> str:
    return table(_PAIR_COLUMNS, (_pair_cells(row) for row in rows), ("type", "verified"))


def _notes(rows: list[PairRow]) -> str:
    items = "\n".join(f"<li><b>{escape(targets)}</b>: {escape(text)}</li>" for targets, text in explanations(rows))
    return f"<ul>\n{items}\n</ul>" if items else ""


def _pair_cells(row: PairRow) -> Iterator[str]:
    how = f" {row.how}" if row.how else ""
    chip = f" on {row.predicted_chip}" if row.predicted_chip else ""
    yield cell(row.target, head=True)
    yield cell(row.precision or NOTHING, "left")
    yield cell(row.verdict, f"left {colour(row)}")
    yield cell(difference(row))
    yield cell(amount(row.cost, row.unit) + how)
    yield cell(milliseconds(row.predicted_ms) + chip)
    yield cell(size(row.arena_bytes))
    yield cell(size(row.file_bytes))
    yield cell(f"{row.fallbacks}{' not taken' * (row.verdict == 'refused')}" if row.blocks else NOTHING)

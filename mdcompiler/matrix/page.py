"""A matrix as one page of HTML that needs nothing from anywhere: no script, no font, no picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from mdcompiler.matrix.report import GOOD, BlockRow, Matrix, PairRow
from mdcompiler.matrix.words import (
    NOTHING,
    amount,
    blocks_of,
    by_network,
    difference,
    explanations,
    kinds,
    milliseconds,
    size,
)

_STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #5b6570; --paper: #ffffff; --line: #d5dae0;
  --head: #f2f4f7; --good: #1a7f37; --plain: #5b6570; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e7eb; --soft: #9aa5b1; --paper: #14171a; --line: #343b43;
  --head: #1e2328; --good: #5bc97a; --plain: #9aa5b1; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 78rem; background: var(--paper); color: var(--text);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p, li { max-width: 46rem; } .soft { color: var(--soft); font-size: .875rem; }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; margin: .75rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; font-variant-numeric: tabular-nums; }
ul { padding-left: 1.2rem; overflow-wrap: anywhere; }
th, td { padding: .35rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line);
  vertical-align: top; }
tr:last-child > * { border-bottom: 0; } thead th { background: var(--head); font-weight: 600; }
th[scope=row], .left { text-align: left; } th[scope=row] { font-weight: 600; position: sticky; left: 0;
  background: var(--paper); }
thead th:first-child { position: sticky; left: 0; }
.text { white-space: normal; min-width: 16rem; text-align: left; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; } .plain { color: var(--plain); }
details { margin: .5rem 0; } summary { cursor: pointer; padding: .35rem 0; } nav a { margin-right: .8rem; }
a { color: inherit; }
"""
_LEGEND = (
    "Difference: the largest to the reference, over all tensors between blocks for int8 in steps of their integers, "
    "for fp32 relative to the range of an output. Tensors between blocks come from a second build that has them as "
    "outputs; the verdict is of the artifact itself. Cost: of one run. Predicted: by the latency model of the target's "
    "chip. Falls back: kernels without one of the backend's own, or left to the host."
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
_BLOCK_COLUMNS = ("block", "kernels", "type", "multiply-adds", "difference", "cost", "predicted", "falls back, and why")


def as_page(matrix: Matrix) -> str:
    """The page."""
    networks = by_network(matrix.pairs)
    body = [f"<h1>Networks by targets</h1>\n<p>{_total(matrix)}</p>"]
    body += [f"<p>{escape(note)}</p>" for note in matrix.notes]
    links = "\n".join(f'<a href="#network-{i}">{escape(name)}</a>' for i, name in enumerate(networks))
    body.append(f"<nav>{links}</nav>")
    for index, (name, rows) in enumerate(networks.items()):
        body += [
            f'<section id="network-{index}">\n<h2>{escape(name)}</h2>',
            _pair_table(rows),
            _notes(rows),
            *_block_parts(rows),
            "</section>",
        ]
    body.append(f'<p class="soft">{escape(_LEGEND)}</p>')
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Networks by targets</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _total(matrix: Matrix) -> str:
    counts: dict[str, int] = {}
    for row in matrix.pairs:
        counts[row.verdict] = counts.get(row.verdict, 0) + 1
    return escape(f"{len(matrix.pairs)} pairs: " + ", ".join(f"{n} {verdict}" for verdict, n in counts.items()) + ".")


def _pair_table(rows: list[PairRow]) -> str:
    return _table(_PAIR_COLUMNS, (_pair_cells(row) for row in rows), ("type", "verified"))


def _notes(rows: list[PairRow]) -> str:
    items = "\n".join(f"<li><b>{escape(targets)}</b>: {escape(text)}</li>" for targets, text in explanations(rows))
    return f"<ul>\n{items}\n</ul>" if items else ""


def _pair_cells(row: PairRow) -> Iterator[str]:
    how = f" {row.how}" if row.how else ""
    chip = f" on {row.predicted_chip}" if row.predicted_chip else ""
    yield _cell(row.target, head=True)
    yield _cell(row.precision or NOTHING, "left")
    yield _cell(row.verdict, f"left {_colour(row)}")
    yield _cell(difference(row))
    yield _cell(amount(row.cost, row.unit) + how)
    yield _cell(milliseconds(row.predicted_ms) + chip)
    yield _cell(size(row.arena_bytes))
    yield _cell(size(row.file_bytes))
    yield _cell(str(row.fallbacks) if row.blocks else NOTHING)


def _colour(row: PairRow) -> str:
    return "good" if row.verdict in GOOD else "bad" if row.verdict in ("differs", "failed") else "plain"


def _block_parts(rows: list[PairRow]) -> Iterator[str]:
    """The grid of blocks by targets, then every pair's own table."""
    shown = [row for row in rows if row.blocks]
    if not shown:
        return
    yield "<h3>Blocks</h3>"
    grid = ([_cell(name, head=True), *(_grid_cell(row, name) for row in shown)] for name in blocks_of(shown))
    yield _table(("block", *(row.target for row in shown)), grid, ())
    for row in shown:
        cells = (_block_cells(row, block) for block in row.blocks)
        table = _table(_BLOCK_COLUMNS, cells, ("kernels", "type", "falls back, and why"))
        yield f"<details>\n<summary>{escape(row.target)}: block by block</summary>\n{table}\n</details>"


def _grid_cell(row: PairRow, name: str) -> str:
    block = next((item for item in row.blocks if item.block == name), None)
    if block is None:
        return _cell("")
    compared = block.steps is not None or block.relative is not None
    colour = "bad" if block.diverges else "good" if compared else "plain"
    mark = " ✗" if block.diverges else " ✓" if compared else ""
    cost = f'<br><span class="soft">{escape(amount(block.cost, row.unit))}</span>' if block.cost is not None else ""
    word = "not taken" if row.verdict == "refused" else "falls back"
    slow = f'<br><span class="bad">{word}</span>' if block.fallbacks else ""
    return f'<td><span class="{colour}">{escape(difference(block))}{mark}</span>{cost}{slow}</td>'


def _block_cells(row: PairRow, block: BlockRow) -> Iterator[str]:
    predicted = NOTHING if block.predicted_us is None else f"{block.predicted_us:,.1f} µs"
    yield _cell(block.block, head=True)
    yield _cell(kinds(block.kinds), "left")
    yield _cell(block.precision or NOTHING, "left")
    yield _cell(f"{block.macs:,}")
    yield _cell(difference(block), "bad" if block.diverges else "")
    yield _cell(amount(block.cost, row.unit))
    yield _cell(predicted)
    yield _cell(" ".join(block.fallbacks), "text" if block.fallbacks else "")


def _cell(text: str, style: str = "", head: bool = False) -> str:
    if head:
        return f'<th scope="row">{escape(text)}</th>'
    return f'<td class="{style}">{escape(text)}</td>' if style else f"<td>{escape(text)}</td>"


def _table(
    columns: Sequence[str], rows: Iterator[Iterator[str] | list[str]] | Sequence[list[str]], left: Sequence[str]
) -> str:
    """left: columns whose head is flush left, beside the first."""
    heads = "".join(
        f'<th scope="col"{" class=left" if i == 0 or name in left else ""}>{escape(name)}</th>'
        for i, name in enumerate(columns)
    )
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<div class="wide"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'

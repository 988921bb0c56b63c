"""The blocks of one network on a page: all targets beside one another, then every target's own table."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from mdcompiler.matrix.page_table import cell, framed, table
from mdcompiler.matrix.report import BlockRow, PairRow
from mdcompiler.matrix.words import (
    NOTHING,
    TIMES,
    amount,
    bare_amount,
    blocks_of,
    difference,
    kinds,
    microseconds,
    size,
)

_BLOCK_COLUMNS = (
    *("block", "kernels", "type", "multiply-adds", "weights", "tensors", "difference", "cost", "predicted"),
    "falls back, and why",
)


def block_parts(rows: list[PairRow]) -> Iterator[str]:
    """The grid of blocks by targets, then every pair's own table."""
    shown = [row for row in rows if row.blocks]
    if not shown:
        return
    yield "<h3>Blocks</h3>"
    grid = ([cell(name, head=True), *(_grid_cell(row, name) for row in shown)] for name in blocks_of(shown))
    yield framed("".join(_grid_heads(shown)), "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in grid))
    for row in shown:
        cells = (_block_cells(row, block) for block in row.blocks)
        own = table(_BLOCK_COLUMNS, cells, ("kernels", "type", "falls back, and why"))
        yield f"<details>\n<summary>{escape(row.target)}: block by block</summary>\n{own}\n</details>"


def _grid_heads(rows: list[PairRow]) -> Iterator[str]:
    """Units stand in the heads, so that many targets fit beside one another."""
    yield '<th scope="col" class="left">block<br><span class="soft">difference, cost</span></th>'
    for row in rows:
        unit = "time" if row.unit in TIMES else row.unit or ("predicted" if _predicts(row) else "")
        yield f'<th scope="col">{escape(row.target)}<br><span class="soft">{escape(unit)}</span></th>'


def _predicts(row: PairRow) -> bool:
    """Whether nothing but the latency model says what the blocks of `row` cost."""
    return not row.unit and any(block.predicted_us is not None for block in row.blocks)


def _grid_cost(row: PairRow, block: BlockRow) -> str:
    if _predicts(row):
        return microseconds(block.predicted_us) if block.predicted_us is not None else ""
    return bare_amount(block.cost, row.unit) if block.cost is not None else ""


def _grid_cell(row: PairRow, name: str) -> str:
    block = next((item for item in row.blocks if item.block == name), None)
    if block is None:
        return cell("")
    compared = block.steps is not None or block.relative is not None
    colour = "bad" if block.diverges else "good" if compared else "plain"
    mark = " ✗" if block.diverges else " ✓" if compared else ""
    told = _grid_cost(row, block)
    cost = f'<br><span class="soft">{escape(told)}</span>' if told else ""
    word = "not taken" if row.verdict == "refused" else "falls back"
    slow = f'<br><span class="bad">{word}</span>' if block.fallbacks else ""
    return f'<td><span class="{colour}">{escape(difference(block))}{mark}</span>{cost}{slow}</td>'


def _block_cells(row: PairRow, block: BlockRow) -> Iterator[str]:
    yield cell(block.block, head=True)
    yield cell(kinds(block.kinds), "left")
    yield cell(block.precision or NOTHING, "left")
    yield cell(f"{block.macs:,}" if block.macs else NOTHING)
    yield cell(size(block.weight_bytes))
    yield cell(size(block.working_bytes))
    yield cell(difference(block), "bad" if block.diverges else "")
    yield cell(amount(block.cost, row.unit))
    yield cell(microseconds(block.predicted_us))
    yield cell(" ".join(block.fallbacks), "text" if block.fallbacks else "")

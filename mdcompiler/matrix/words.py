"""Numbers of a report as people read them, the same in the text, the page and the Markdown table."""

from __future__ import annotations

from mdcompiler.matrix.report import GOOD, BlockRow, PairRow

NOTHING = "-"
TIMES = {"ms": 1.0, "us": 1000.0}
"""Units of time that a backend may tell costs in, and how many make a millisecond."""
_THOUSAND = 1000.0
_KIB = 1024.0


def size(count: int | None) -> str:
    """Bytes.

    >>> size(67712), size(300), size(None)
    ('66.1 KiB', '300 B', '-')
    """
    if count is None:
        return NOTHING
    if count < _KIB:
        return f"{count} B"
    value, unit = count / _KIB, "KiB"
    return f"{value:.1f} {unit}" if value < _KIB else f"{value / _KIB:.1f} MiB"


def amount(value: float | None, unit: str) -> str:
    """A cost with its unit.

    >>> amount(13654.0, "packets"), amount(0.0429, "ms"), amount(1230.0, "us"), amount(51234567, "instructions")
    ('13,654 packets', '42.9 µs', '1.23 ms', '51.2 M instructions')
    """
    if value is None:
        return NOTHING
    if unit in TIMES:
        milliseconds = value / TIMES[unit]
        return f"{milliseconds * _THOUSAND:.1f} µs" if milliseconds < 1 else f"{milliseconds:.2f} ms"
    return f"{value / _THOUSAND**2:.1f} M {unit}" if value >= 10 * _THOUSAND**2 else f"{value:,.0f} {unit}"


def bare_amount(value: float, unit: str) -> str:
    """A cost whose unit is told elsewhere; times keep theirs.

    >>> bare_amount(13654.0, "packets"), bare_amount(0.0429, "ms"), bare_amount(5134567, "instructions")
    ('13,654', '42.9 µs', '5.1 M')
    """
    if unit in TIMES:
        return amount(value, unit)
    return f"{value / _THOUSAND**2:.1f} M" if value >= _THOUSAND**2 else f"{value:,.0f}"


def difference(row: PairRow | BlockRow) -> str:
    """The largest difference: of integers in steps, else relative to the reference's range.

    >>> difference(BlockRow(block="a", steps=2)), difference(BlockRow(block="a", relative=2.4e-7))
    ('2', '2.4e-07')
    """
    if row.steps is not None:
        return f"{row.steps:,}"
    return NOTHING if row.relative is None else f"{row.relative:.1e}" if row.relative else "0"


def milliseconds(value: float | None) -> str:
    """Of a prediction."""
    return NOTHING if value is None else f"{value:.2f} ms"


def microseconds(value: float | None) -> str:
    """Of a prediction of one block."""
    return NOTHING if value is None else f"{value:,.1f} µs"


def kinds(names: tuple[str, ...]) -> str:
    """Kernel kinds in order, equal ones in a row counted.

    >>> kinds(("conv", "pointwise", "pointwise"))
    'conv, 2 pointwise'
    """
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = name, runs[-1][1] + 1
        else:
            runs.append((name, 1))
    return ", ".join(name if count == 1 else f"{count} {name}" for name, count in runs)


def divergence(row: PairRow) -> str:
    """Which block is at fault; "" when none is known. Of a right artifact it is the second build that is wrong."""
    if not row.first_diverging:
        return ""
    where = f"first diverging block: {row.first_diverging}"
    if row.verdict in GOOD:
        return f"{where}, only in a build that has the tensors between blocks as outputs"
    return where


def explanation(row: PairRow) -> str:
    """What a reader of a row should know besides its numbers; "" when there is nothing."""
    first = divergence(row)
    compared = row.verdict in ("bit for bit", "tolerance", "differs")
    blocks = f"blocks not compared: {row.blocks_not_compared}" if compared and row.blocks_not_compared else ""
    costs = f"no costs: {row.costs_missing}" if compared and row.costs_missing else ""
    return "; ".join(part for part in (row.reason, row.note, first, blocks, costs) if part)


def explanations(rows: list[PairRow]) -> list[tuple[str, str]]:
    """(targets, explanation) of the rows that have one; targets with the same one together."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if explanation(row):
            found.setdefault(explanation(row), []).append(row.target)
    return [(", ".join(targets), text) for text, targets in found.items()]


def by_network(pairs: tuple[PairRow, ...]) -> dict[str, list[PairRow]]:
    """The rows of each network, in order."""
    found: dict[str, list[PairRow]] = {}
    for row in pairs:
        found.setdefault(row.network, []).append(row)
    return found


def blocks_of(rows: list[PairRow]) -> list[str]:
    """Every block that a row knows, in order of execution."""
    return list(dict.fromkeys(block.block for row in rows for block in row.blocks))

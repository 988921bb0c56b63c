"""How every pair was verified, as the table of a README."""

from __future__ import annotations

from mdcompiler.matrix.report import Matrix, PairRow
from mdcompiler.matrix.words import by_network

_SHORT = 90


def as_markdown(matrix: Matrix) -> str:
    """Networks down, targets across; then a line for every reason, numbered as in the table."""
    networks = by_network(matrix.pairs)
    targets = list(dict.fromkeys(row.target for row in matrix.pairs))
    reasons: list[str] = []
    lines = [f"| | {' | '.join(f'`{target}`' for target in targets)} |", "|---" * (len(targets) + 1) + "|"]
    for network, rows in networks.items():
        found = {row.target: row for row in rows}
        cells = [_cell(found[target], reasons) if target in found else "" for target in targets]
        lines.append(f"| {network} | {' | '.join(cells)} |")
    lines += ["", *(f"{index}. {reason}" for index, reason in enumerate(reasons, 1))] if reasons else []
    return "\n".join(lines) + "\n"


def _cell(row: PairRow, reasons: list[str]) -> str:
    text = f"{row.verdict} ({row.precision})" if row.precision else row.verdict
    why = row.reason or (f"first diverging block: {row.first_diverging}" if row.first_diverging else "")
    if not why:
        return text
    why = why.replace("|", "\\|")
    if why not in reasons:
        reasons.append(why)
    return f"{text} [{reasons.index(why) + 1}]"

"""How every pair was verified, as the table of a README."""

from __future__ import annotations

from pathlib import Path

from mdcompiler.errors import OutputError
from mdcompiler.foreign import read_file, refusing
from mdcompiler.matrix.report import Matrix, PairRow
from mdcompiler.matrix.words import divergence
from mdcompiler.write_aside import write_file

_MOST_BYTES = 16 << 20
BEGIN, END = "<!-- mdc matrix -->", "<!-- /mdc matrix -->"
"""Between these lines of a Markdown file stands a table that is written anew."""


def as_markdown(matrix: Matrix) -> str:
    """Networks by targets, the more of them down; then a line for every reason, numbered as in the table."""
    networks = list(dict.fromkeys(row.network for row in matrix.pairs))
    targets = list(dict.fromkeys(row.target for row in matrix.pairs))
    found = {(row.network, row.target): row for row in matrix.pairs}
    reasons: list[str] = []
    if len(targets) > len(networks):
        lines = _head(networks)
        rows = [(f"`{target}`", [found.get((network, target)) for network in networks]) for target in targets]
    else:
        lines = _head([f"`{target}`" for target in targets])
        rows = [(network, [found.get((network, target)) for target in targets]) for network in networks]
    lines += [f"| {name} | {' | '.join(_cell(row, reasons) for row in cells)} |" for name, cells in rows]
    lines += ["", *(f"{index}. {reason}" for index, reason in enumerate(reasons, 1))] if reasons else []
    return "\n".join(lines) + "\n"


def check_place(path: Path) -> None:
    """Raise OutputError when the file at `path` has no one place for a table: before an hour is spent on it."""
    _parts(path)


def put_into(path: Path, table: str) -> None:
    """Replace what stands between BEGIN and END in the file at `path`. Raises OutputError."""
    before, after = _parts(path)
    write_file(path, f"{before}{BEGIN}\n\n{table}\n{END}{after}".encode())


def _parts(path: Path) -> tuple[str, str]:
    """What stands before BEGIN and behind END."""
    with refusing(f"putting a matrix into {path}: it cannot be read", OutputError, "Check the path."):
        text = read_file(path, _MOST_BYTES).decode()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or text.count(BEGIN) > 1 or text.count(END) > 1:
        raise OutputError(
            f"putting a matrix into {path}: it has {text.count(BEGIN)} lines `{BEGIN}` and {text.count(END)} lines "
            f"`{END}`. Write one of each, in this order, where the table shall stand."
        )
    return before, after


def _head(columns: list[str]) -> list[str]:
    return [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]


def _cell(row: PairRow | None, reasons: list[str]) -> str:
    if row is None:
        return ""
    text = f"{row.verdict} ({row.precision})" if row.precision else row.verdict
    why = row.reason or divergence(row)
    if not why:
        return text
    why = why.replace("|", "\\|")
    if why not in reasons:
        reasons.append(why)
    return f"{text} [{reasons.index(why) + 1}]"

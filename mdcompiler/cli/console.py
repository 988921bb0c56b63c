"""What commands print: tables and JSON on stdout, progress and notes on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mdcompiler.progress import Progress

_REPORT_SECONDS = 10.0
Cell = str | int | float | None


def print_json(data: Any) -> None:
    """`data` as JSON, alone on stdout."""
    print(_encodable(json.dumps(data, indent=2, ensure_ascii=False)))


def note(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    print(_encodable(text), file=sys.stderr)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """A table on stdout; numbers to the right, whole ones with thousands separators."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    console = Console()
    Console(width=console.width if console.is_terminal else 200).print(table)


def _text(cell: Cell) -> str:
    if isinstance(cell, float):
        return f"{cell:,.3f}"
    return f"{cell:,}" if isinstance(cell, int) else _encodable(cell or "")


def _encodable(text: str) -> str:
    """Text with the bytes of a file's name that are none as escapes, which JSON knows, too."""
    return text.encode(errors="backslashreplace").decode()


@contextmanager
def shown_progress() -> Iterator[Progress]:
    """Progress on stderr: a bar with the time left on a terminal, plain lines elsewhere."""
    if sys.stderr.isatty():
        with _bar() as progress:
            yield progress
    else:
        yield PlainProgress(note)


@contextmanager
def _bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Bars(*columns, *times, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("start", total=None)
        last = ""

        def progress(activity: str, done: int, total: int) -> None:
            nonlocal last
            kind = activity.partition(" ")[0]
            if kind != last:
                last = kind
                bars.reset(task)
            bars.update(task, description=activity, completed=done, total=total)

        yield progress


class PlainProgress:
    """A line when another kind of work begins, and one every ten seconds with the time left."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._kind = ""
        self._began = self._told = 0.0

    def __call__(self, activity: str, done: int, total: int) -> None:
        kind = activity.partition(" ")[0]
        now = self._clock()
        if kind != self._kind:
            self._kind, self._began, self._told = kind, now, now
            self._say(f"mdc: {activity} ({total} steps)" if total > 1 else f"mdc: {activity} …")
        elif now - self._told >= _REPORT_SECONDS and 0 < done < total:
            self._told = now
            left = (now - self._began) / done * (total - done)
            self._say(f"mdc: {activity}: {done} of {total}, about {left:.0f} s left")

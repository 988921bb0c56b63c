"""Outcomes on disk, a line of JSON each, so that a long run goes on where it was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.outcome import Outcome


class State:
    """The outcomes of cases so far; path None keeps them in memory."""

    def __init__(self, path: Path | None) -> None:
        self.outcomes: dict[str, Outcome] = dict(_read(path)) if path is not None and path.is_file() else {}
        self._path = path

    def add(self, case: str, outcome: Outcome, seconds: float) -> None:
        self.outcomes[case] = outcome
        if self._path is None:
            return
        row = {"case": case, "seconds": round(seconds, 3), **json.loads(outcome.as_json())}
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _read(path: Path) -> Iterator[tuple[str, Outcome]]:
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue  # half a last line
        yield row["case"], Outcome(row["verdict"], row["text"], row["where"])

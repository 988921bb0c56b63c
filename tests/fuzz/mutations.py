"""Cases of damaged inputs: `kind/number` makes one from its number, `kind=FILE` takes one from a file."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.kinds import all_kinds
from tests.fuzz.outcome import Outcome


class Mutations:
    """seed: of all cases, with their numbers."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def run(self, case: str, folder: Path) -> Outcome:
        name, file = case.partition("=")[::2]
        if file:
            return all_kinds()[name].outcome(Path(file).read_bytes(), folder)
        name, number = case.split("/")
        kind = all_kinds()[name]
        return kind.outcome(kind.case(self.seed, int(number)), folder)

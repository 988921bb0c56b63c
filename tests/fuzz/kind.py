"""A kind of input: where its first inputs come from, how they are changed, and who reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random

from tests.fuzz.outcome import Outcome

CORPUS = Path(__file__).parent / "corpus"
_COUNTS = (1, 1, 1, 2, 2, 3, 5)
_MOST_BYTES = 4 << 20
_KEPT_SHARE = 0.15
"""How many cases start from what is kept: most of it is refused at once, and so is what is made of it."""
Mutate = Callable[[Random, bytes], bytes]


@dataclass(frozen=True)
class Kind:
    """name: also of its folder in the corpus. file: the name under which a reader finds the input.

    seeds: inputs that are right. mutate: one change. read: takes the file; raises, or returns an Outcome when it has
    more to say than that it came back. share: how many of a thousand cases of a run over all kinds are of this one.
    """

    name: str
    file: str
    seeds: Callable[[], Sequence[bytes]]
    mutate: Mutate
    read: Callable[[Path], Outcome | object]
    share: int = 10

    @cached_property
    def right(self) -> tuple[bytes, ...]:
        """The seeds, made once."""
        return tuple(self.seeds())

    @cached_property
    def kept(self) -> tuple[bytes, ...]:
        """What failed once, and what was answered with a sentence of its own."""
        folder = CORPUS / self.name
        return tuple(file.read_bytes() for file in sorted(folder.iterdir())) if folder.is_dir() else ()

    def steps(self, seed: int, number: int) -> tuple[bytes, list[Random]]:
        """What case `number` starts from, and the source of chance of each of its changes."""
        random = Random(f"{seed}/{self.name}/{number}")  # noqa: S311 - the same number, the same case
        first = random.choice(self.kept if self.kept and random.random() < _KEPT_SHARE else self.right)
        return first, [Random(random.random()) for _ in range(random.choice(_COUNTS))]  # noqa: S311

    def case(self, seed: int, number: int) -> bytes:
        """The input of case `number`."""
        data, changes = self.steps(seed, number)
        for random in changes:
            data = self.mutate(random, data)[:_MOST_BYTES]
        return data

    def outcome(self, data: bytes, folder: Path) -> Outcome:
        """What the reader makes of `data`. Raises what the reader raises."""
        file = folder / self.file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        found = self.read(file)
        return found if isinstance(found, Outcome) else Outcome("done")

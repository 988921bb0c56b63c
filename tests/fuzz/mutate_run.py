"""A long run over the kinds: in rounds, so that it may stop anywhere; what failed is shrunk and kept."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.fuzz.farm import Farm
from tests.fuzz.kind import Kind
from tests.fuzz.kinds import all_kinds
from tests.fuzz.outcome import Outcome
from tests.fuzz.shrink import shrink

_MOST_KEPT_BYTES = 3000
_ATTEMPTS = {"hang": 6, "memory": 30, "signal": 60}
_ODD = re.compile(r"'[^']*'|\"[^\"]*\"|/\S+|-?\d[\d.e+-]*|\[.*\]|\(.*\)", re.DOTALL)


@dataclass
class Progress:
    """Of a run. done: kind -> next number. verdicts: kind -> verdict -> how many. faults: `kind|verdict|where` ->
    the first case and how many. said: sentences seen, without names and numbers."""

    seed: int = 0
    done: dict[str, int] = field(default_factory=dict)
    verdicts: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: dict[str, tuple[str, int]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cases(self) -> int:
        return sum(self.done.values())

    def total(self) -> Counter[str]:
        """Outcomes of all kinds together."""
        counts: Counter[str] = Counter()
        for verdicts in self.verdicts.values():
            counts.update(verdicts)
        return counts


class Run:
    """state: file that a later run goes on from. failures, keep: folders for shrunk failures and for inputs that
    were answered with a new sentence."""

    def __init__(self, seed: int, state: Path | None, failures: Path | None, keep: Path | None) -> None:
        read = json.loads(state.read_text()) if state is not None and state.is_file() else {"seed": seed}
        self.progress = Progress(**read)
        self.said = set(self.progress.said)
        self.state, self.failures, self.keep = state, failures, keep

    def go(self, kinds: Sequence[str], enough: Callable[[Progress], bool]) -> Progress:
        """Rounds over `kinds` until `enough`."""
        with Farm("mutations", {"seed": self.progress.seed}) as farm:
            while not enough(self.progress):
                for case in self._round(kinds):
                    started = time.monotonic()
                    self._note(farm, case, farm.run(case))
                    self.progress.seconds += time.monotonic() - started
                    if enough(self.progress):
                        break
                self._save()
        return self.progress

    def _round(self, kinds: Sequence[str]) -> Iterator[str]:
        for name in kinds:
            first = self.progress.done.get(name, 0)
            for number in range(first, first + all_kinds()[name].share):
                yield f"{name}/{number}"

    def _note(self, farm: Farm, case: str, outcome: Outcome) -> None:
        name, number = case.split("/")
        self.progress.done[name] = int(number) + 1
        verdicts = self.progress.verdicts.setdefault(name, {})
        verdicts[outcome.verdict] = verdicts.get(outcome.verdict, 0) + 1
        if outcome.failed:
            self._failed(farm, case, outcome)
        elif outcome.verdict == "refused":
            self._heard(all_kinds()[name], int(number), outcome)

    def _failed(self, farm: Farm, case: str, outcome: Outcome) -> None:
        key = "|".join((case.split("/")[0], *outcome.fault))
        first, count = self.progress.faults.get(key, (case, 0))
        self.progress.faults[key] = first, count + 1
        if count:
            return
        print(f"{case}: {outcome.verdict} at {outcome.where}: {outcome.text[:600]}\n", flush=True)
        if self.failures is not None:
            self._save_failure(farm, case, outcome, self.failures / re.sub(r"[^\w.-]+", "-", key))

    def _save_failure(self, farm: Farm, case: str, outcome: Outcome, folder: Path) -> None:
        name, number = case.split("/")
        kind = all_kinds()[name]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "why.txt").write_text(f"seed {self.progress.seed}, case {case}: {outcome.verdict}\n{outcome.text}\n")
        file = folder / kind.file

        def fails(data: bytes) -> bool:
            file.write_bytes(data)
            return farm.run(f"{name}={file}").fault == outcome.fault

        data = kind.case(self.progress.seed, int(number))
        small = shrink(data, file.suffix, fails, _ATTEMPTS.get(outcome.verdict, 300))
        file.write_bytes(small)

    def _heard(self, kind: Kind, number: int, outcome: Outcome) -> None:
        sentence = f"{kind.name}: {_ODD.sub('_', outcome.text)[:160]}"
        if sentence in self.said:
            return
        self.said.add(sentence)
        self.progress.said.append(sentence)
        if self.keep is not None:
            data = kind.case(self.progress.seed, number)
            if len(data) <= _MOST_KEPT_BYTES:
                folder = self.keep / kind.name
                folder.mkdir(parents=True, exist_ok=True)
                (folder / hashlib.sha256(data).hexdigest()[:12]).write_bytes(data)

    def _save(self) -> None:
        if self.state is not None:
            aside = self.state.with_suffix(".part")
            aside.write_text(json.dumps(asdict(self.progress), indent=1))
            aside.replace(self.state)

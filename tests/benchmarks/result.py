"""What was measured of one runtime on one network."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.benchmarks.agreement import WRONG
from tests.benchmarks.c_start import Start
from tests.benchmarks.peer_runtimes import OURS


@dataclass(frozen=True)
class Result:
    """times_ms, cpu_ms: of every run that counts, on the clock and of all threads together.

    import_ms: of the runtime's package; load_ms: file to first result. peak_mib: most memory of the whole process;
    added_mib: what is above Python with numpy. busy_threads: those that worked. difference: to the reference, in words.
    arena_bytes, c_start (of a C program): ours only.
    """

    network: str
    precision: str
    threads: int
    runtime: str
    times_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]
    import_ms: float
    load_ms: float
    peak_mib: float
    added_mib: float
    busy_threads: int
    file_bytes: int
    difference: str
    arena_bytes: int | None = None
    c_start: Start | None = None

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)

    @property
    def min_ms(self) -> float:
        return min(self.times_ms)

    @property
    def cpu_median_ms(self) -> float:
        return statistics.median(self.cpu_ms)

    @property
    def is_wrong(self) -> bool:
        """Whether the outputs are beyond the tolerance; such a time is no one's target."""
        return self.difference.endswith(WRONG)


@dataclass(frozen=True)
class Contest:
    """All runtimes on one network with one precision and number of threads."""

    results: tuple[Result, ...]

    @property
    def ours(self) -> Result:
        return next(item for item in self.results if item.runtime == OURS)

    @property
    def ratio(self) -> float:
        """Our median to the best peer's median; NaN without peers."""
        return self._ratio(lambda item: item.median_ms)

    @property
    def min_ratio(self) -> float:
        """The same of the fastest runs."""
        return self._ratio(lambda item: item.min_ms)

    @property
    def cpu_ratio(self) -> float:
        """The same of the median processor time, which other programs on the machine disturb less."""
        return self._ratio(lambda item: item.cpu_median_ms)

    def _ratio(self, of: Callable[[Result], float]) -> float:
        return of(self.ours) / min(map(of, self._peers), default=float("nan"))

    @property
    def best_peer(self) -> str:
        """The peer with the smallest median; "" without peers."""
        return min(self._peers, key=lambda item: item.median_ms).runtime if self._peers else ""

    @property
    def _peers(self) -> list[Result]:
        return [item for item in self.results if item.runtime != OURS and not item.is_wrong]


def contests(results: Iterable[Result]) -> list[Contest]:
    """The results grouped by network, precision and threads, in order of appearance."""
    groups: dict[tuple[str, str, int], list[Result]] = {}
    for item in results:
        groups.setdefault((item.network, item.precision, item.threads), []).append(item)
    return [Contest(tuple(group)) for group in groups.values()]

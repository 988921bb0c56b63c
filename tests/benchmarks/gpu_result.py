"""What was measured of the runtimes on a GPU, and the report of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from tests.benchmarks.agreement import WRONG
from tests.benchmarks.gpu_device import DeviceState
from tests.benchmarks.peer_runtimes import OURS


@dataclass(frozen=True)
class GpuResult:
    """One runtime on one network. times_ms: picture on the host to outputs on the host. kernels_ms: of our kernels
    alone, one after the other. memory_mib: on the GPU, None where nothing tells."""

    network: str
    precision: str
    runtime: str
    times_ms: tuple[float, ...]
    load_ms: float
    difference: str
    memory_mib: float | None = None
    kernels_ms: float | None = None

    @property
    def median_ms(self) -> float:
        return statistics.median(self.times_ms)

    @property
    def is_wrong(self) -> bool:
        """Whether the outputs are beyond the tolerance; such a time is no one's target."""
        return self.difference.endswith(WRONG)


@dataclass(frozen=True)
class Contest:
    """All runtimes on one network with one precision. before, after: the GPU around the runs. left_out: runtime ->
    why it could not take part."""

    results: tuple[GpuResult, ...]
    before: DeviceState
    after: DeviceState
    left_out: dict[str, str]

    @property
    def ours(self) -> GpuResult:
        return next(item for item in self.results if item.runtime == OURS)

    @property
    def ratio(self) -> float:
        """Our median to the best right peer's; NaN without one."""
        peers = [item.median_ms for item in self.results if item.runtime != OURS and not item.is_wrong]
        return self.ours.median_ms / min(peers, default=float("nan"))

    def table(self) -> str:
        """Markdown: a row for each runtime, the reasons of the others, the GPU's clocks."""
        head = (
            f"### {self.ours.network}, {self.ours.precision}: {self.ratio:.2f} of the best peer's time\n\n"
            "| runtime | median ms | min ms | kernels alone ms | load s | GPU MiB | difference |\n"
            "|---|---|---|---|---|---|---|"
        )
        rows = [_row(item) for item in sorted(self.results, key=lambda item: item.median_ms)]
        others = [f"\n{name} left out: {reason}" for name, reason in self.left_out.items()]
        clocks = f"\nbefore: {self.before.line()}\nafter: {self.after.line()}"
        return "\n".join([head, *rows, *others, clocks])


def _row(item: GpuResult) -> str:
    cells = (
        item.runtime,
        f"{item.median_ms:.3f}",
        f"{min(item.times_ms):.3f}",
        "" if item.kernels_ms is None else f"{item.kernels_ms:.3f}",
        f"{item.load_ms / 1e3:.1f}",
        "unknown" if item.memory_mib is None else f"{item.memory_mib:.0f}",
        item.difference,
    )
    return f"| {' | '.join(cells)} |"


def report(contests: Sequence[Contest]) -> str:
    """All tables, and one line for each contest."""
    lines = [f"{one.ours.network} {one.ours.precision}: ratio {one.ratio:.2f}" for one in contests]
    return "\n\n".join([*(one.table() for one in contests), "\n".join(lines)])


def as_json(contests: Iterable[Contest]) -> str:
    """Everything, every time included."""
    return json.dumps([asdict(one) for one in contests], indent=1)

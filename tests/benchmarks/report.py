"""Results as Markdown tables, in RESULTS.md under a heading each, and as plots beside it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from textwrap import fill

from tests.benchmarks.peer_runtimes import OURS, PEERS, RUNTIMES
from tests.benchmarks.plot import plot
from tests.benchmarks.result import Result, contests

RESULTS = Path(__file__).with_name("RESULTS.md")
_WIDTH = 140


def time_table(results: Sequence[Result]) -> str:
    """Median (minimum) in ms of every runtime, a line a network, with our ratio to the best peer."""
    names = [name for name in RUNTIMES if any(item.runtime == name for item in results)]
    lines = [_line(["network", *names, "best peer", "ratio of medians", "of minima"])]
    lines.append("|" + "---|" * (len(names) + 4))
    for contest in contests(results):
        spent = {item.runtime: f"{item.median_ms:.2f} ({item.min_ms:.2f})" for item in contest.results}
        ratios = [contest.best_peer, f"**{contest.ratio:.2f}**", f"{contest.min_ratio:.2f}"]
        lines.append(_line([contest.ours.network, *(spent.get(name, "") for name in names), *ratios]))
    return "\n".join(lines)


def cpu_table(results: Sequence[Result]) -> str:
    """Median processor time in ms of every runtime, a line a network, with our ratio to the least."""
    names = [name for name in RUNTIMES if any(item.runtime == name for item in results)]
    lines = [_line(["network", *names, "ratio"]), "|" + "---|" * (len(names) + 2)]
    for contest in contests(results):
        spent = {item.runtime: f"{item.cpu_median_ms:.2f}" for item in contest.results}
        lines.append(
            _line([contest.ours.network, *(spent.get(name, "") for name in names), f"{contest.cpu_ratio:.2f}"])
        )
    return "\n".join(lines)


def size_table(results: Iterable[Result]) -> str:
    """Loading, memory, file size and difference to the reference, a line a runtime."""
    columns = ["network", "runtime", "import ms", "load ms", "peak MiB", "added MiB", "file MiB", "arena MiB"]
    lines = [_line([*columns, "busy threads", "to the reference"]), "|" + "---|" * (len(columns) + 2)]
    for item in results:
        arena = "" if item.arena_bytes is None else f"{item.arena_bytes / 2**20:.2f}"
        numbers = (item.import_ms, item.load_ms, item.peak_mib, item.added_mib, item.file_bytes / 2**20)
        cells = [f"{number:.1f}" for number in numbers]
        lines.append(_line([item.network, item.runtime, *cells, arena, str(item.busy_threads), item.difference]))
    return "\n".join(lines)


def c_table(results: Iterable[Result]) -> str:
    """Our library in a C program: opening, first run, fastest run, peak memory."""
    lines = [_line(["network", "load ms", "first run ms", "fastest run ms", "peak MiB"]), "|" + "---|" * 5]
    for item in results:
        if item.c_start is not None:
            start = item.c_start
            cells = [f"{value:.2f}" for value in (start.load_ms, start.first_run_ms, start.run_ms)]
            lines.append(_line([item.network, *cells, f"{start.peak_kib / 1024:.1f}"]))
    return "\n".join(lines)


def head(runs: int, size: int | None) -> str:
    """Day, machine, versions and conditions, for the top of a section."""
    text = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in text if line.startswith("model name")), platform.machine())
    packages = [(RUNTIMES[name].package, _version(RUNTIMES[name].package)) for name in (OURS, *PEERS)]
    versions = [f"{name} {found}" for name, found in [*packages, ("apache-tvm", _version("apache-tvm"))] if found]
    picture = "the specs' own size" if size is None else f"{size}x{size}"
    return fill(
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {model}, {os.cpu_count()} logical cores, Python "
        f"{platform.python_version()}; {', '.join(versions)}. Seeded weights, raw outputs, {picture}; {runs} runs "
        "each, taken in turn by processes pinned to the same cores. Median (minimum) in ms.",
        _WIDTH,
    )


def sections(results: Sequence[Result], top: str = "") -> str:
    """A section for each precision and number of threads."""
    return "\n".join(f"{title}\n\n{body}" for title, body in _sections(results, top))


def write(results: Sequence[Result], top: str, path: Path = RESULTS) -> None:
    """Put the sections into `path`, each in place of the one with its heading, and plot them beside it."""
    text = path.read_text() if path.is_file() else ""
    for title, body in _sections(results, top):
        text = replace_section(text, title, body)
    path.write_text(text)
    for (precision, threads), part in _parts(results).items():
        plot(contests(part), f"{precision}, {_threads(threads)}", path.with_name(_plot_name(precision, threads)))


def replace_section(text: str, title: str, body: str) -> str:
    """`text` with the section under the line `title` replaced, or put at the end."""
    section = f"{title}\n\n{body.rstrip()}\n"
    found = re.search(rf"^{re.escape(title)}$.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        return f"{text.rstrip()}\n\n{section}"
    rest = text[found.end() :]
    return text[: found.start()] + section + ("\n" + rest if rest else "")


def _sections(results: Sequence[Result], top: str) -> list[tuple[str, str]]:
    made = []
    for (precision, threads), part in _parts(results).items():
        picture = f"![{precision}, {_threads(threads)}]({_plot_name(precision, threads)})" if top else ""
        tables = [top, time_table(part), picture]
        if threads == 1:
            tables += ["Median processor time in ms, which other programs disturb less:", cpu_table(part)]
        tables.append(size_table(part))
        if threads == 1:
            tables += ["The library in a C program:", c_table(part)]
        made.append((f"## Speed: {precision}, {_threads(threads)}", "\n\n".join(filter(None, tables)) + "\n"))
    return made


def _parts(results: Iterable[Result]) -> dict[tuple[str, int], list[Result]]:
    parts: dict[tuple[str, int], list[Result]] = {}
    for item in sorted(results, key=lambda item: (item.precision, item.threads)):
        parts.setdefault((item.precision, item.threads), []).append(item)
    return parts


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _plot_name(precision: str, threads: int) -> str:
    return f"peers-{precision}-{threads}.svg"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""

"""A bar chart of all runtimes over the networks, as SVG text: no plotting package is needed.

A bar is a median relative to the best peer's, so that small and large networks share one scale; below the line at
1 is faster than every peer.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tests.benchmarks.peer_runtimes import OURS, RUNTIMES
from tests.benchmarks.result import Contest, Result

_COLOURS = dict(zip(RUNTIMES, ("#d62728", "#7f9fbf", "#9fbf9f", "#cfb97f", "#b79fc7", "#8fbfbf"), strict=True))
_BAR, _GAP, _HEIGHT, _LEFT, _TOP, _BOTTOM = 20, 24, 260, 44, 56, 46
_GROUP = 120
"""Pixels a network takes: its bars, and its name in two lines."""
_LIMIT = 2.0
"""Taller bars are cut and carry their number."""


def plot(contests: Sequence[Contest], title: str, path: Path) -> None:
    """Write the chart to `path`. Contests without a peer are left out."""
    path.write_text(chart([contest for contest in contests if contest.best_peer], title))


def chart(contests: Sequence[Contest], title: str) -> str:
    """The SVG text. Equal results give equal text."""
    drawn: list[str] = []
    x = _LEFT + _GAP
    for contest in contests:
        best = next(item.median_ms for item in contest.results if item.runtime == contest.best_peer)
        drawn += _name(x + _GROUP / 2, contest.ours.network)
        left = x + (_GROUP - _BAR * len(contest.results)) / 2
        for index, item in enumerate(contest.results):
            drawn += _bar(left + _BAR * index, item, best)
        x += _GROUP + _GAP
    names = [name for name in RUNTIMES if any(item.runtime == name for one in contests for item in one.results)]
    width = max(x, 140 * len(names) + _LEFT)
    frame = [_text(_LEFT, 18, f"{title}: median relative to the best peer (1.0); less is faster", weight="bold")]
    body = [*frame, *_legend(names), *_grid(width), *drawn]
    height = _TOP + _HEIGHT + _BOTTOM
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    white = f'<rect width="{width}" height="{height}" fill="white"/>'
    style = 'font-family="sans-serif" font-size="11"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>', white, *body, "</svg>\n"])


def _bar(x: float, item: Result, best_ms: float) -> list[str]:
    ratio = item.median_ms / best_ms
    top = _y(min(ratio, _LIMIT))
    box = f'x="{x}" y="{top:.1f}" width="{_BAR - 2}" height="{_y(0) - top:.1f}"'
    number = _text(x + _BAR / 2 - 1, top - 3, f"{ratio:.2f}", "middle", "bold" if item.runtime == OURS else "normal", 8)
    return [f'<rect {box} fill="{_COLOURS[item.runtime]}"/>', number]


def _name(middle: float, network: str) -> list[str]:
    """Below a group, in two lines: family and member."""
    bottom = _TOP + _HEIGHT
    family, _, member = network.partition("-")
    return [_text(middle, bottom + 18, family, "middle"), _text(middle, bottom + 32, member, "middle")]


def _grid(width: float) -> list[str]:
    lines = []
    for step in range(5):
        value = step / 2
        dashes = "" if value in (0, 1) else ' stroke-dasharray="2 4"'
        ends = f'x1="{_LEFT}" x2="{width}" y1="{_y(value)}" y2="{_y(value)}"'
        lines.append(f'<line {ends} stroke="#999"{dashes}/>')
        lines.append(_text(_LEFT - 6, _y(value) + 4, f"{value:.1f}", "end"))
    return lines


def _legend(names: Sequence[str]) -> list[str]:
    drawn = []
    for index, name in enumerate(names):
        x = _LEFT + 130 * index
        drawn.append(f'<rect x="{x}" y="28" width="10" height="10" fill="{_COLOURS[name]}"/>')
        drawn.append(_text(x + 14, 37, name))
    return drawn


def _y(ratio: float) -> float:
    return _TOP + _HEIGHT * (1 - ratio / _LIMIT)


def _text(x: float, y: float, text: str, anchor: str = "start", weight: str = "normal", size: int = 11) -> str:
    place = f'x="{x}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}"'
    return f"<text {place}>{escape(text)}</text>"

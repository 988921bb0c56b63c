"""Draw the backbones of some specs, a bar for each block: colour its kind, height its channels, width its MACs.

python examples/draw_networks.py networks.png mobiledet-cpu mobiledet-gpu
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mdcompiler.spec import BlockCount, count, load_spec

COLOURS = {"conv": "#7f8c8d", "ibn": "#2e86c1", "fused": "#e67e22", "tucker": "#8e44ad"}
WIDTH, ROW, MARGIN, GAP = 1200, 150, 24, 3


def draw_networks(names: Sequence[str]) -> Image.Image:
    """One row for each spec, all to their own scale in width and to a common one in height."""
    picture = Image.new("RGB", (WIDTH, ROW * len(names) + 2 * MARGIN + 20), "white")
    draw = ImageDraw.Draw(picture)
    for row, name in enumerate(names):
        _row(draw, name, MARGIN + ROW * row)
    _legend(draw, MARGIN + ROW * len(names) + 6)
    return picture


def _row(draw: ImageDraw.ImageDraw, name: str, top: int) -> None:
    counts = count(load_spec(name))
    blocks = [block for block in counts.blocks if block.kind in COLOURS]
    title = f"{name}   {counts.macs / 1e9:.2f} G MACs, {counts.params / 1e6:.2f} M parameters"
    draw.text((MARGIN, top), title, fill="black", font=_font(17))
    base = top + ROW - 24
    x = float(MARGIN)
    for block, width in zip(blocks, _widths(blocks), strict=True):
        height = 8 + 0.3 * block.output[1]
        draw.rectangle((x, base - height, x + width - GAP, base), fill=COLOURS[block.kind])
        x += width


def _widths(blocks: Sequence[BlockCount]) -> list[float]:
    """Pixels for each block: its share of the MACs, and enough to be seen."""
    smallest, free = 12.0, WIDTH - 2 * MARGIN - 12.0 * len(blocks)
    total = sum(block.macs for block in blocks)
    return [smallest + free * block.macs / total for block in blocks]


def _legend(draw: ImageDraw.ImageDraw, top: int) -> None:
    for index, (kind, colour) in enumerate(COLOURS.items()):
        x = MARGIN + 110 * index
        draw.rectangle((x, top, x + 16, top + 16), fill=colour)
        draw.text((x + 24, top - 1), kind, fill="black", font=_font(15))
    draw.text((MARGIN + 470, top - 1), "width: share of the MACs   height: channels", fill="black", font=_font(15))


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("specs", nargs="+")
    arguments = parser.parse_args()
    draw_networks(arguments.specs).save(arguments.output, optimize=True)


if __name__ == "__main__":
    main()

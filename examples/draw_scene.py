"""Draw a picture to try a detector on: coloured shapes on a noisy ground, the same for the same seed.

python examples/draw_scene.py scene.png --seed 3 --size 480x640
python examples/draw_scene.py scene.rgb --size 320x320            # raw bytes, for a C program
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

COLOURS = ("#c0392b", "#2980b9", "#27ae60", "#f39c12", "#8e44ad", "#16a085")
SIDES = {"triangle": 3, "square": 4, "hexagon": 6, "circle": 64}


def draw_scene(width: int, height: int, seed: int = 0, shapes: int = 7) -> Image.Image:
    """An RGB picture of `width` x `height` pixels with that many shapes."""
    generator = np.random.default_rng(seed)
    picture = _ground(generator, width, height)
    draw = ImageDraw.Draw(picture)
    for index in range(shapes):
        sides = SIDES[str(generator.choice(list(SIDES)))]
        radius = generator.uniform(0.06, 0.16) * min(width, height)
        x, y = generator.uniform(radius, (width - radius, height - radius))
        corners = _corners(float(x), float(y), float(radius), sides, float(generator.uniform(0, math.tau)))
        draw.polygon(corners, fill=COLOURS[index % len(COLOURS)], outline="#202020")
    return picture.filter(ImageFilter.GaussianBlur(0.6))


def _ground(generator: np.random.Generator, width: int, height: int) -> Image.Image:
    """A slope of light from top to bottom with a little noise, so that it is not flat."""
    light = np.linspace(220, 150, height)[:, None, None] + np.array([0.0, 4.0, 10.0])
    noise = generator.normal(0, 5, (height, width, 1))
    return Image.fromarray(np.clip(light + noise, 0, 255).astype(np.uint8))


def _corners(x: float, y: float, radius: float, sides: int, turn: float) -> list[tuple[float, float]]:
    angles = (turn + math.tau * side / sides for side in range(sides))
    return [(x + radius * math.cos(angle), y + radius * math.sin(angle)) for angle in angles]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", default="480x640", help="HEIGHTxWIDTH in pixels")
    arguments = parser.parse_args()
    height, width = (int(extent) for extent in arguments.size.split("x"))
    picture = draw_scene(width, height, arguments.seed)
    if arguments.output.suffix == ".rgb":
        arguments.output.write_bytes(picture.tobytes())
    else:
        picture.save(arguments.output)


if __name__ == "__main__":
    main()

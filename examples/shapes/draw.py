"""Write one held-out scene, and what is in it, to look at or to detect.

python -m examples.shapes.draw scene.png --seed 12 --size 480
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from examples.shapes.outlines import CLASSES
from examples.shapes.scenes import HELD_OUT, draw_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=12, help="number of the held-out scene")
    parser.add_argument("--size", type=int, default=480, help="pixels of a side")
    arguments = parser.parse_args()
    scene = draw_scene(HELD_OUT + arguments.seed, arguments.size)
    Image.fromarray(scene.image).save(arguments.output)
    print("drawn:", ", ".join(CLASSES[index] for index in scene.classes))


if __name__ == "__main__":
    main()

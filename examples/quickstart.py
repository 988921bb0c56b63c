"""Compile a detector for this machine, look at a picture, save what was seen.

python examples/quickstart.py demo/scene.png
python examples/quickstart.py demo/scene.png --spec examples/specs/small.yaml --out out/small
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

import mdcompiler
from mdcompiler.drawing import draw_detections
from mdcompiler.images import read_picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--spec", default="mobiledet-cpu")
    parser.add_argument("--out", type=Path, default=Path("out/quickstart"))
    arguments = parser.parse_args()

    mdcompiler.compile(arguments.spec, target="cpu", out=arguments.out)
    with mdcompiler.load(arguments.out) as detector:
        found = detector.detect(arguments.picture)[:5]

    for item in found:
        print(f"{item.class_name} {item.score:.2f} at {', '.join(f'{edge:.3f}' for edge in item.box)}")
    drawn = arguments.out.with_name(f"{arguments.out.name}.png")
    Image.fromarray(draw_detections(read_picture(arguments.picture), found)).save(drawn)
    print(f"drawn in {drawn}; the weights are seeded, not trained")


if __name__ == "__main__":
    main()

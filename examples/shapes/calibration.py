"""Scenes to quantize the shapes detectors with, and what is in them: an .npz file and a COCO file beside it.

python -m examples.shapes.calibration --out out/shapes-scenes             # scenes.npz, annotations.json
mdc compile examples/shapes/mobiledet-cpu-shapes.yaml --weights examples/shapes/mobiledet-cpu-shapes.safetensors \
    --precision int8 --calibration out/shapes-scenes/scenes.npz --annotations out/shapes-scenes/annotations.json \
    --max-loss 1 -o out/shapes8

The scenes are of their own seeds: no training and no evaluation sees them.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from examples.shapes.accuracy import coco_truth
from examples.shapes.scenes import CALIBRATION, draw_scene

SIZE = 160


def write_calibration(out: Path, count: int, size: int = SIZE) -> tuple[Path, Path]:
    """Draw `count` scenes into the folder `out`; the paths of `scenes.npz` and `annotations.json`."""
    scenes = [draw_scene(CALIBRATION + index, size) for index in range(count)]
    out.mkdir(parents=True, exist_ok=True)
    pictures, annotations = out / "scenes.npz", out / "annotations.json"
    np.savez(pictures, image=np.stack([scene.image for scene in scenes]))
    truth: dict[str, Any] = coco_truth(scenes)
    annotations.write_text(json.dumps(truth))
    return pictures, annotations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=256)
    parser.add_argument("--size", type=int, default=SIZE, help="pixels of the square scenes")
    parser.add_argument("--out", type=Path, required=True, help="folder of both files")
    arguments = parser.parse_args()
    for path in write_calibration(arguments.out, arguments.scenes, arguments.size):
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

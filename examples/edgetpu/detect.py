"""Detect objects with a Coral Edge TPU, or with this machine's processor: no mdcompiler on the device.

python detect.py model_edgetpu.tflite picture.jpg      # on the device, compiled by edgetpu_compiler
python detect.py out/model.tflite picture.jpg          # anywhere, with LiteRT

Needs numpy, Pillow and ai-edge-litert (or tflite-runtime on older boards); the Edge TPU also its runtime libedgetpu.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

RUNTIME = "libedgetpu.so.1"


def interpreter(model: bytes) -> Any:
    """The file, on the Edge TPU when it was compiled for one."""
    try:
        from ai_edge_litert import interpreter as litert
    except ImportError:
        from tflite_runtime import interpreter as litert  # type: ignore[import-not-found]
    delegates = [litert.load_delegate(RUNTIME)] if b"edgetpu-custom-op" in model else None
    made = litert.Interpreter(model_content=model, experimental_delegates=delegates)
    made.allocate_tensors()
    return made


def labels(model: bytes) -> list[str]:
    """The names of the classes, which are packed behind the file."""
    if not zipfile.is_zipfile(io.BytesIO(model)):
        return []
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        return archive.read("labels.txt").decode().splitlines()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--min-score", type=float, default=0.3)
    arguments = parser.parse_args()

    content = arguments.model.read_bytes()
    runner = interpreter(content)
    place = runner.get_input_details()[0]
    _, height, width, _ = place["shape"]
    with Image.open(arguments.picture) as opened:
        upright = ImageOps.exif_transpose(opened).convert("RGB")
        picture = np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR), np.uint8)[None]
    runner.set_tensor(place["index"], picture)
    runner.invoke()
    boxes, classes, scores, count = (runner.get_tensor(end["index"])[0] for end in runner.get_output_details())

    names = labels(content)
    for box, number, score in list(zip(boxes, classes, scores, strict=True))[: int(count)]:
        if score >= arguments.min_score:
            name = names[int(number)] if int(number) < len(names) else f"class {int(number)}"
            print(f"{name} {score:.2f} at {', '.join(f'{edge:.3f}' for edge in box)}")


if __name__ == "__main__":
    main()

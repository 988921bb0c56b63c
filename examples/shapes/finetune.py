"""Fine-tune a shapes detector in the integers of a machine: quantization-aware training.

python -m examples.shapes.finetune mobiledet-cpu-shapes --steps 400 --out out/shapes-qat.onnx
mdc compile out/shapes-qat.onnx --target cpu -o out/shapes-qat
python -m examples.shapes.evaluate mobiledet-cpu-shapes --artifact out/shapes-qat

Begins with the weights that ship (or --weights), finds the ranges of the activations on scenes of their own, then
trains weights and scales on training scenes. Needs the extra `train` (torch).
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from examples.shapes.scenes import CALIBRATION, draw_scene
from examples.shapes.shipped import spec_source, weights_file
from examples.shapes.train import BOX_WEIGHT, ShapeBatches
from mdcompiler.spec import Spec, load_spec
from mdcompiler.torch import QuantizedModule, WeightAverage, build, detection_loss, prepare_qat, save_quantized

WARM_UP_STEPS = 10
EMA_DECAY = 0.99
FIRST_STEP = 100_000
"""Number of the first batch, far beyond those that the weights were trained on."""


@dataclass(frozen=True)
class Options:
    """rate: highest learning rate of weights; scale_rate: of the activations' scales, as shares of them."""

    spec: str
    out: Path
    weights: Path | None
    scheme: str
    scenes: int
    steps: int
    batch: int
    rate: float
    scale_rate: float
    threads: int


def finetune(options: Options) -> QuantizedModule:
    """The fine-tuned module in eval mode, its weights averaged over the last steps; the ONNX file is written."""
    torch.set_num_threads(options.threads)
    spec = load_spec(spec_source(options.spec))
    module = prepare(options, spec)
    average = WeightAverage(module, EMA_DECAY)
    optimizer = _optimizer(module, options)
    batches = ShapeBatches(spec, options.batch, FIRST_STEP)
    for step in range(options.steps):
        _set_rates(optimizer, step, options)
        images, slots, targets = batches.make(FIRST_STEP + step)
        encodings, logits = module(images)
        boxes, classes = detection_loss(encodings, logits, slots, targets)
        optimizer.zero_grad(set_to_none=True)
        (BOX_WEIGHT * boxes + classes).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 10.0)
        optimizer.step()
        average.update(module)
        if step % 20 == 0:
            print(f"step {step}  box {boxes.item():.3f}  class {classes.item():.3f}", flush=True)
    average.copy_to(module)
    save_quantized(module.eval(), options.out)
    print(f"wrote {options.out}")
    return module


def prepare(options: Options, spec: Spec) -> QuantizedModule:
    """The float detector in the scheme's integers, nothing trained yet."""
    floats = build(spec, options.weights or weights_file(options.spec))
    pictures = (draw_scene(CALIBRATION + index, spec.input.height).image for index in range(options.scenes))
    module = prepare_qat(floats, options.scheme, pictures=pictures)
    module.train()
    return module


def _optimizer(module: QuantizedModule, options: Options) -> torch.optim.Adam:
    weights = [tensor for name, tensor in module.named_parameters() if name != "growth"]
    groups = [{"params": weights, "highest": options.rate}, {"params": [module.growth], "highest": options.scale_rate}]
    return torch.optim.Adam(groups, lr=0.0)


def _set_rates(optimizer: torch.optim.Adam, step: int, options: Options) -> None:
    """A short warm-up, then a cosine down to nothing."""
    share = min(1.0, (step + 1) / WARM_UP_STEPS) * (0.5 + 0.5 * math.cos(math.pi * step / options.steps))
    for group in optimizer.param_groups:
        group["lr"] = group["highest"] * share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", help="mobiledet-cpu-shapes, mobiledet-edgetpu-shapes, or a spec file with --weights")
    parser.add_argument("--out", type=Path, default=Path("out/shapes-qat.onnx"), help="the quantized network")
    parser.add_argument("--weights", type=Path, help="float weights to begin with; the shipped ones if left out")
    parser.add_argument("--scheme", default="cpu", help="quantization scheme of the target (`mdc targets --json`)")
    parser.add_argument("--scenes", type=int, default=64, help="calibration scenes")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-5, help="highest learning rate of the weights")
    parser.add_argument("--scale-rate", type=float, default=1e-3, help="highest learning rate of the scales")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    finetune(Options(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()

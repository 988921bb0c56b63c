"""Train a detector on drawn shapes, from nothing, on a GPU where there is one.

python -m examples.shapes.train mobiledet-cpu-shapes --minutes 45 --out out/shapes
python -m examples.shapes.train mobiledet-cpu-shapes --minutes 45 --out out/shapes   # goes on where it was stopped

Writes <out>/<spec>.checkpoint.safetensors (to go on from) and <out>/<spec>.safetensors (float16 weights, averaged
over the last steps) every few minutes. Needs the extra `train` (torch).
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from examples.shapes.scenes import TRAIN, draw_scene
from examples.shapes.shipped import spec_source
from mdcompiler.spec import Spec, load_spec
from mdcompiler.torch import (
    DetectorModule,
    Targets,
    WeightAverage,
    build,
    detection_loss,
    load_checkpoint,
    save_checkpoint,
)
from mdcompiler.torch.checkpoint import load_optimizer, optimizer_tensors
from mdcompiler.torch.weights import named_weights
from mdcompiler.weights import save_weights

SAVE_EVERY_S, REPORT_EVERY_S = 120.0, 20.0
WARM_UP_STEPS = 150
EMA_DECAY = 0.998
BOX_WEIGHT = 1.5

Batch = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class Options:
    """How to train. The learning rate falls as a cosine over `steps`, or over `minutes` when those run out first."""

    spec: str
    out: Path
    steps: int
    minutes: float
    batch: int
    rate: float
    decay: float
    threads: int
    workers: int


class ShapeBatches(IterableDataset[Batch]):
    """Batches from step `start` on; a step's scenes depend on its number alone."""

    def __init__(self, spec: Spec, batch: int, start: int) -> None:
        self.spec, self.batch, self.start = spec, batch, start
        self.targets = Targets(spec)

    def __iter__(self) -> Iterator[Batch]:
        worker = torch.utils.data.get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        step = self.start + offset
        while True:
            yield self.make(step)
            step += stride

    def make(self, step: int) -> Batch:
        """images uint8 [N, H, W, 3], class slots int64 [N, A], encodings float32 [N, A, 4]."""
        first = TRAIN + step * self.batch
        scenes = [draw_scene(seed, self.spec.input.height) for seed in range(first, first + self.batch)]
        slots, encodings = self.targets.batch((scene.boxes, scene.classes) for scene in scenes)
        return torch.from_numpy(np.stack([scene.image for scene in scenes])), slots, encodings


@dataclass
class Training:
    """A network in training: its optimizer, its averaged weights, and how far it is."""

    options: Options
    spec: Spec
    device: torch.device
    model: DetectorModule = field(init=False)
    optimizer: torch.optim.AdamW = field(init=False)
    average: WeightAverage = field(init=False)
    step: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        self.model = build(self.spec).to(self.device, memory_format=torch.channels_last)
        self.optimizer = _optimizer(self.model, self.options.decay)
        self.average = WeightAverage(self.model, EMA_DECAY)

    @property
    def share(self) -> float:
        """How much of the training is done, 0 to 1."""
        return min(1.0, max(self.step / self.options.steps, self.seconds / 60 / self.options.minutes))

    def rate(self) -> float:
        """The learning rate of the next step."""
        warm = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        return self.options.rate * warm * max(0.01, 0.5 + 0.5 * math.cos(math.pi * self.share))

    def learn(self, batch: Batch) -> tuple[float, float]:
        """One step; the box loss and the class loss."""
        images, slots, targets = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        encodings, logits = self.model(images)
        boxes, classes = detection_loss(encodings, logits, slots, targets)
        self.optimizer.zero_grad(set_to_none=True)
        (BOX_WEIGHT * boxes + classes).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 10.0)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.model)
        return boxes.item(), classes.item()

    def save(self) -> None:
        """Write the checkpoint, then the averaged weights in float16."""
        tensors = {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        tensors |= {f"weight/{name}": tensor for name, tensor in named_weights(self.model).items()}
        tensors |= optimizer_tensors(self.optimizer)
        state = {"step": self.step, "seconds": self.seconds, "spec": self.spec.to_data()}
        save_checkpoint(self.checkpoint, tensors, state)
        weights = {name: array.astype(np.float16) for name, array in self.average.weights().items()}
        save_weights(self.options.out / f"{self.spec.name}.safetensors", weights)

    @property
    def checkpoint(self) -> Path:
        return self.options.out / f"{self.spec.name}.checkpoint.safetensors"

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return
        tensors, state = load_checkpoint(self.checkpoint)
        if state["spec"] != self.spec.to_data():
            raise SystemExit(f"{self.checkpoint} belongs to another spec; move it away or give another --out")
        with torch.no_grad():
            for name, tensor in named_weights(self.model).items():
                tensor.copy_(tensors[f"weight/{name}"])
                self.average.tensors[name].copy_(tensors[f"average/{name}"])
        load_optimizer(self.optimizer, tensors)
        self.step, self.seconds = state["step"], state["seconds"]
        self.average.steps = self.step
        print(f"going on from step {self.step}", flush=True)


def _optimizer(model: DetectorModule, decay: float) -> torch.optim.AdamW:
    """AdamW that decays convolutions only."""
    decayed = [tensor for tensor in model.parameters() if tensor.ndim > 1]
    others = [tensor for tensor in model.parameters() if tensor.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.0)


def train(options: Options) -> None:
    """Train until the steps are done or the minutes are over."""
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    training = Training(options, load_spec(spec_source(options.spec)), device)
    training.resume()
    batches = ShapeBatches(training.spec, options.batch, training.step)
    loader = DataLoader(batches, batch_size=None, num_workers=options.workers, pin_memory=device.type == "cuda")
    training.model.train()
    _loop(training, iter(loader))
    training.save()
    print(f"done: {training.step} steps of {options.batch} scenes in {training.seconds:.0f} s", flush=True)


def _loop(training: Training, batches: Iterator[Batch]) -> None:
    report = _Report(training)
    saved = last = time.monotonic()
    while training.share < 1:
        losses = training.learn(next(batches))
        now = time.monotonic()
        training.seconds += now - last
        last = now
        report.add(losses, now)
        if now - saved > SAVE_EVERY_S:
            training.save()
            saved = now


class _Report:
    """A line every REPORT_EVERY_S seconds: losses since the last one, speed, time left at that speed."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self.begin(time.monotonic())

    def begin(self, now: float) -> None:
        self.since, self.share = now, self.training.share
        self.losses: list[tuple[float, float]] = []

    def add(self, losses: tuple[float, float], now: float) -> None:
        self.losses.append(losses)
        passed = now - self.since
        if passed < REPORT_EVERY_S:
            return
        boxes, classes = np.mean(self.losses, axis=0)
        speed = len(self.losses) * self.training.options.batch / passed
        gained = max(self.training.share - self.share, 1e-9)
        left = (1 - self.training.share) * passed / gained
        print(
            f"step {self.training.step}  {100 * self.training.share:.1f} %  box {boxes:.3f}  class {classes:.3f}  "
            f"rate {self.training.rate():.2e}  {speed:.1f} images/s  {left / 60:.0f} min left",
            flush=True,
        )
        self.begin(now)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", help="mobiledet-cpu-shapes, mobiledet-edgetpu-shapes, or any spec with 8 classes")
    parser.add_argument("--out", type=Path, default=Path("out/shapes"))
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after this long, resumed time included")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.02, help="weight decay")
    parser.add_argument("--threads", type=int, default=1, help="of torch on the CPU")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw scenes")
    train(Options(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()

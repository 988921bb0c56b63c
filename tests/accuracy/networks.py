"""A small detector up to the fuse stage, and pictures for it."""

from __future__ import annotations

import numpy as np

from mdcompiler.calibration import ListedSamples
from mdcompiler.compiler import Job
from mdcompiler.module import Module
from mdcompiler.read_network import Request
from mdcompiler.target import find_target
from tests.weights.small_spec import small_spec


def small_module() -> Module:
    """Every kind of block, seeded weights, raw outputs, kernels marked."""
    return Job(Request(small_spec(), raw=True), find_target("null")).graph_after("fuse")


def small_samples(module: Module, count: int = 4) -> ListedSamples:
    """Seeded smooth pictures."""
    generator = np.random.default_rng(7)
    tensor = module.graph.inputs[0]
    _, height, width, _ = tensor.shape
    coarse = generator.integers(0, 256, (count, 1, height // 8 + 1, width // 8 + 1, 3))
    fine = coarse.repeat(8, axis=2).repeat(8, axis=3)[:, :, :height, :width]
    return ListedSamples([{tensor.name: picture.astype(np.uint8)} for picture in fine])

"""Compiling small networks for Arm and running them, in the emulator or on a processor like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from mdcompiler.backend import input_specs, output_specs
from mdcompiler.backends.arm.backend import ArmBackend
from mdcompiler.backends.arm.machine import why_not_run
from mdcompiler.module import Module
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import silent
from mdcompiler.spec import Spec, parse_spec
from mdcompiler.target import find_target

Arrays = dict[str, NDArray[Any]]
reason = why_not_run(find_target("arm64"))
needs_emulator = pytest.mark.skipif(bool(reason), reason=reason or "never")

_SPEC = """
name: arm
input: {{height: 37, width: 42}}
defaults: {{activation: {activation}}}
blocks:
  C1: [{{kind: conv, out: 8, kernel: 3, stride: 2}}, {{kind: tucker, out: 8, input_ratio: 0.5, output_ratio: 0.75}}]
  C2: [{{kind: fused, out: 12, expansion: 4, kernel: 3, stride: 2}}, {{kind: ibn, out: 12, expansion: 3, kernel: 5}}]
  C3: [{{kind: ibn, out: 20, expansion: 4, kernel: 3, stride: 2, se: 0.25}}]
head: {{levels: [C2, C3], extra: [16], classes: 3}}
"""


def small_spec(activation: str = "hard-swish") -> Spec:
    """Every kind of block, channels that fill no vector, odd sizes."""
    return parse_spec(_SPEC.format(activation=activation), "arm")


def emitted(module: Module, pipeline: Pipeline, folder: Path) -> dict[str, Any]:
    """Compile a module that is ready to be placed into `folder`; what a backend reads of its manifest."""
    backend = ArmBackend()
    pipeline.run(module, backend.passes(module.target))
    for name, content in backend.emit(module, silent, 1).files.items():
        (folder / name).write_bytes(content)
    target = module.target.model_dump(mode="json")
    return {"inputs": input_specs(module), "outputs": output_specs(module), "target": target}


def ran(folder: Path, manifest: dict[str, Any], inputs: Arrays, threads: int = 1) -> Arrays:
    """The outputs of what `emitted` wrote."""
    runnable = ArmBackend().load(folder, manifest, threads)
    try:
        return runnable.run(inputs)
    finally:
        runnable.close()


def saved(model: onnx.ModelProto, path: Path) -> Path:
    """`model` as a file."""
    onnx.save(model, str(path))
    return path


def picture(spec: Spec, seed: int = 3) -> Arrays:
    """A seeded picture for the input `image`."""
    shape = (1, spec.input.height, spec.input.width, 3)
    return {"image": np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)}

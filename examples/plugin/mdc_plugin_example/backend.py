"""The NumPy backend: an artifact is a list of steps and the constants they read.

steps.json        [{"op": "Conv", "attributes": {...}, "inputs": [...], "output": "..."}, ...]
constants.safetensors     every constant by the name of its tensor
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray
from safetensors.numpy import load, save

from mdc_plugin_example.functions import ATTRIBUTES, FUNCTIONS, why_not
from mdcompiler.artifact import listed_bytes
from mdcompiler.backend import Arrays, Emission, Runnable
from mdcompiler.compile_pass import Pass
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.target import Target

_STEPS, _CONSTANTS = "steps.json", "constants.safetensors"


class NumpyBackend:
    """Runs a network step by step on NumPy."""

    name = "numpy"

    def why_not(self, kernel: Kernel, target: Target) -> str | None:
        return next((reason for node in kernel.nodes if (reason := why_not(node))), None)

    def passes(self, target: Target) -> Sequence[Pass]:
        return ()

    def emit(self, module: Module, progress: Progress, threads: int) -> Emission:
        found = kernels(module.graph)
        for kernel in found:
            if reason := self.why_not(kernel, module.target):
                raise UnsupportedError(f"backend numpy cannot compile {kernel.name}: {reason}")
        steps = [_step(node) for kernel in found for node in kernel.nodes]
        program = {"outputs": [tensor.name for tensor in module.graph.outputs], "steps": steps}
        files = {_STEPS: json.dumps(program, indent=1).encode(), _CONSTANTS: save(_constants(module.graph))}
        return Emission(files, {"arena_bytes": 0})

    def load(self, directory: Path, manifest: Mapping[str, Any], threads: int) -> Runnable:
        program = json.loads(listed_bytes(directory, manifest, _STEPS))
        return NumpyRunnable(program["steps"], program["outputs"], load(listed_bytes(directory, manifest, _CONSTANTS)))


def _step(node: gs.Node) -> dict[str, Any]:
    attributes = {key: value for key, value in node.attrs.items() if key in ATTRIBUTES}
    return {
        "op": node.op,
        "attributes": attributes,
        "inputs": [tensor.name for tensor in node.inputs],
        "output": node.outputs[0].name,
    }


def _constants(graph: gs.Graph) -> dict[str, NDArray[Any]]:
    tensors = graph.tensors().items()
    return {name: np.array(tensor.values, order="C") for name, tensor in tensors if isinstance(tensor, gs.Constant)}


@dataclass(frozen=True)
class NumpyRunnable:
    """A loaded list of steps. It keeps nothing between two runs, so threads may share it."""

    steps: list[dict[str, Any]]
    outputs: list[str]
    constants: dict[str, NDArray[Any]]

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        values = {**self.constants, **inputs}
        for step in self.steps:
            arguments = (values[name] for name in step["inputs"])
            values[step["output"]] = FUNCTIONS[step["op"]](step["attributes"], *arguments)
        return {name: values[name] for name in self.outputs}

    def close(self) -> None:
        """Nothing to release."""

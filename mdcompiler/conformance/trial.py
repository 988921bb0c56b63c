"""One network compiled by one backend: what the checks look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backend import Arrays, Backend, Emission, input_specs, output_specs
from mdcompiler.compile_pass import STAGES
from mdcompiler.module import Module
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import silent
from mdcompiler.reference import run_reference
from mdcompiler.registry import plugin_passes
from mdcompiler.target import Target, missing_flags, shipped_targets
from mdcompiler.verify import sample_inputs

Outputs = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Trial:
    """A network that a backend has compiled.

    model: as it was before any pass; module: as it was handed to `emit`; before: its bytes at that moment.
    """

    backend: Backend
    model: onnx.ModelProto
    module: Module
    before: bytes
    emission: Emission

    @property
    def inputs(self) -> Arrays:
        return sample_inputs(self.module)

    def expected(self) -> Outputs:
        """What the reference says, ONNX Runtime or onnx's own evaluator."""
        return run_reference(self.model, self.inputs)

    def run_in(self, folder: Path, inputs: Arrays) -> Outputs:
        """Write the files into `folder`, load them from there alone, run once."""
        manifest = write_files(self, folder)
        runnable = self.backend.load(folder, manifest, 1)
        try:
            return runnable.run(inputs)
        finally:
            runnable.close()


def default_target(backend: Backend) -> Target:
    """A target of `backend` that this machine can run: the first one shipped, else one with default sizes."""
    for target in shipped_targets().values():
        if target.backend == backend.name and not target.zig and not missing_flags(target):
            return target
    return Target(name=f"{backend.name}-default", backend=backend.name)


def prepare(backend: Backend, target: Target, model: onnx.ModelProto) -> Module:
    """`model` after every pass: the built-in ones, the plug-ins' and the backend's own, stage by stage."""
    from mdcompiler.passes import builtin_passes

    passes = [*builtin_passes(), *plugin_passes(), *backend.passes(target)]
    passes.sort(key=lambda item: STAGES.index(item.stage))
    return Pipeline().run(Module.from_onnx(model, target), passes)


def try_model(backend: Backend, target: Target, model: onnx.ModelProto) -> Trial:
    """Compile `model`. Raises UnsupportedError when the backend refuses it."""
    module = prepare(backend, target, model)
    before = snapshot(module)
    return Trial(backend, model, module, before, backend.emit(module, silent, 1))


def snapshot(module: Module) -> bytes:
    """The graph with its constants and attributes as bytes, to see whether it was edited."""
    for tensor in module.graph.tensors().values():
        if isinstance(tensor, gs.Constant):
            _ = tensor.values  # read it now: a constant is written differently once somebody has read it
    content: bytes = module.to_onnx().SerializeToString(deterministic=True)
    return content


def write_files(trial: Trial, folder: Path) -> dict[str, Any]:
    """Write what was emitted into `folder`; the part of its manifest that a backend may read."""
    for name, content in trial.emission.files.items():
        (folder / name).write_bytes(content)
    specs = {"inputs": input_specs(trial.module), "outputs": output_specs(trial.module)}
    return {**specs, "target": trial.module.target.model_dump(mode="json"), "facts": trial.emission.facts}

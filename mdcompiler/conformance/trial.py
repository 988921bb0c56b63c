"""One network compiled by one backend: what the checks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.arbiter import check_of
from mdcompiler.artifact import file_entries
from mdcompiler.backend import Arrays, Backend, Emission, input_specs, output_specs, why_not_run
from mdcompiler.compile_pass import STAGES
from mdcompiler.conformance.quantize_model import computes_in_float, quantize_model
from mdcompiler.module import Module
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import silent
from mdcompiler.registry import plugin_passes
from mdcompiler.sampling import sample_inputs
from mdcompiler.self_check import Check
from mdcompiler.target import Target, shipped_targets

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

    def check(self) -> Check:
        """What the arbiter says: to the network as it was, or to its integers on a machine without floats."""
        target = self.module.target
        return check_of(Module.from_onnx(self.model, target) if computes_in_float(target) else self.module)

    @contextmanager
    def loaded(self, folder: Path) -> Iterator[Callable[[Arrays], Outputs]]:
        """Write the files into `folder` and load them from there alone: what runs them, with the raw head if there is
        one."""
        runnable = self.backend.load(folder, write_files(self, folder), 1)
        try:
            yield getattr(runnable, "run_with_head", runnable.run)
        finally:
            runnable.close()


def default_target(backend: Backend) -> Target:
    """The first shipped target of `backend` that this machine can run, or just the first, else one of default sizes."""
    shipped = [target for target in shipped_targets().values() if target.backend == backend.name]
    runs = [target for target in shipped if not why_not_run(backend, target)]
    return next(iter((*runs, *shipped)), Target(name=f"{backend.name}-default", backend=backend.name))


def prepare(backend: Backend, target: Target, model: onnx.ModelProto) -> Module:
    """`model` after every pass: the built-in ones, the plug-ins' and the backend's own, stage by stage.

    It is quantized in between for a machine that has no floats.
    """
    from mdcompiler.passes import builtin_passes

    passes = [*builtin_passes(), *plugin_passes(), *backend.passes(target)]
    passes.sort(key=lambda item: STAGES.index(item.stage))
    border = STAGES.index("quantize")
    pipeline, module = Pipeline(), Module.from_onnx(model, target)
    pipeline.run(module, [item for item in passes if STAGES.index(item.stage) < border])
    if not computes_in_float(target):
        quantize_model(module)
    return pipeline.run(module, [item for item in passes if STAGES.index(item.stage) >= border])


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
    rows = [entry.model_dump(mode="json") for entry in file_entries(trial.emission.files)]
    return {
        **specs,
        "files": rows,
        "target": trial.module.target.model_dump(mode="json"),
        "facts": trial.emission.facts,
    }

"""What is measured: one network as ONNX and as our artifact, with the same weights, in fp32 or int8.

In int8 both come from one quantized graph: ranges are those of one picture, without the methods that keep accuracy,
because speed does not depend on the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

import mdcompiler
from mdcompiler.arbiter import arbiter_of
from mdcompiler.artifact import Artifact, file_entries, write_artifact
from mdcompiler.build_manifest import build_manifest
from mdcompiler.calibration import ListedSamples
from mdcompiler.compile_pass import STAGES
from mdcompiler.compiler import Job
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes.quantize_calibrated import QuantizeCalibrated
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import silent
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.scheme import SCHEME_KEY, find_scheme
from mdcompiler.read_network import Request, describe_source
from mdcompiler.spec import Spec, load_spec, weight_shapes
from mdcompiler.target import find_target
from mdcompiler.tolerance import Allowance, span_of
from mdcompiler.weights import seeded_weights

Arrays = dict[str, NDArray[Any]]
PRECISIONS = ("fp32", "int8")
NOT_CHECKED = "compared with every other runtime by the benchmark"


@dataclass(frozen=True)
class Subject:
    """One network ready to be measured.

    model: the ONNX file, quantized (QDQ) in int8. artifact: ours. image: uint8 [1, height, width, 3].
    expected: what the arbiter gives; allowed: what float outputs may differ by, in int8 nothing.
    """

    network: str
    precision: str
    model: Path
    artifact: Artifact
    image: NDArray[np.uint8]
    expected: Arrays
    allowed: Mapping[str, Allowance] = field(default_factory=dict)


def prepare(spec: Spec, precision: str, folder: Path, target: str = "cpu") -> Subject:
    """Write `model.onnx` and the artifact `ours` of `spec` into `folder`, and run the reference."""
    shape = (1, spec.input.height, spec.input.width, 3)
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    make = _float_subject if precision == "fp32" else _integer_subject
    return make(spec, folder, image, target)


def zoo_spec(network: str, size: int | None) -> Spec:
    """The zoo's spec of `network`, for a square picture of `size` pixels unless that is None."""
    spec = load_spec(network)
    return spec if size is None else spec.with_(height=size, width_px=size)


def quantized_module(spec: Spec, image: NDArray[np.uint8], target: str) -> tuple[Job, Module]:
    """The quantized network before it is placed, and the job that goes on with it."""
    job = Job(Request(spec, raw=True), find_target(target))
    module = job.graph_after("fuse")
    samples = ListedSamples([{"image": image}])
    QuantizeCalibrated(samples, "min-max", methods=(), compared=1, allow_degraded=True).run(module)
    return job, module


def place(job: Job, module: Module) -> None:
    """Run the passes that follow quantization, in place."""
    border = STAGES.index("quantize") + 1
    pipeline = Pipeline()
    pipeline.ran = [item.name for stage in STAGES[:border] for item in job.passes(stage)]
    for stage in STAGES[border:]:
        pipeline.run(module, job.passes(stage))


def _float_subject(spec: Spec, folder: Path, image: NDArray[np.uint8], target: str) -> Subject:
    model = lower(spec, seeded_weights(weight_shapes(spec), 0), raw=True)
    path = _saved(model, folder)
    artifact = mdcompiler.compile(spec, target, folder / "ours", raw=True, check=False)
    answer = arbiter_of(Module.from_onnx(model, find_target(target)))({"image": image})
    allowed = {
        name: Allowance.measured(span_of(array), answer.float32.get(name)) for name, array in answer.values.items()
    }
    return Subject(spec.name, "fp32", path, artifact, image, answer.values, allowed)


def _integer_subject(spec: Spec, folder: Path, image: NDArray[np.uint8], target: str) -> Subject:
    job, module = quantized_module(spec, image, target)
    model = module.to_onnx()
    path = _saved(model, folder)
    values = IntegerReference(module, find_scheme(module.metadata[SCHEME_KEY])).run({"image": image})
    expected = {item.name: values[item.name] for item in model.graph.output}
    source = describe_source(job.request, module)
    place(job, module)
    emission = job.backend.emit(module, silent, 1)
    entries = file_entries(emission.files)
    manifest = build_manifest(module, source, "int8", job.backend, emission.facts, entries, NOT_CHECKED)
    artifact = write_artifact(folder / "ours", manifest, dict(emission.files), lambda _: None)
    return Subject(spec.name, "int8", path, artifact, image, expected)


def _saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    return path

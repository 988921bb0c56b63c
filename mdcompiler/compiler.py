"""`mdcompiler.compile`: from a spec or an ONNX file to an artifact, every stage in order.

read -> simplify -> fuse -> quantize -> place -> emit -> check against the reference -> artifact
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdcompiler import self_check
from mdcompiler.artifact import Artifact, check_destination, file_entries, write_artifact
from mdcompiler.backend import Backend, input_specs, output_specs
from mdcompiler.build_manifest import build_manifest, tensor_specs
from mdcompiler.compile_pass import STAGES, Pass, Stage
from mdcompiler.detector import Detector
from mdcompiler.errors import InternalError, UnsupportedError
from mdcompiler.manifest import Manifest
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline
from mdcompiler.progress import Progress, silent
from mdcompiler.read_network import Request, describe_source, read_network
from mdcompiler.reference import run_reference
from mdcompiler.registry import backend as find_backend
from mdcompiler.registry import plugin_passes
from mdcompiler.spec import Spec
from mdcompiler.target import Target, find_target, missing_flags

PRECISIONS = ("fp32", "int8")


def compile(  # noqa: A001 - mdcompiler.compile is the toolkit's first word, as re.compile is of re
    spec: str | Path | Spec,
    target: str | Target = "cpu",
    out: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    seed: int = 0,
    raw: bool = False,
    precision: str = "fp32",
    calibration: str | Path | None = None,
    allow_degraded: bool = False,
    keep_float: Sequence[str] = (),
    width: float | None = None,
    size: int | tuple[int, int] | None = None,
    threads: int | None = None,
    check: bool = True,
    progress: Progress = silent,
) -> Artifact:
    """Compile a network for a machine.

    spec: name in the zoo, path of a spec (.yaml, .json) or of an ONNX file, or a `Spec`.
    target: name from `mdc targets`, path of a target file, or a `Target`.
    out: directory of the artifact; None keeps it in a temporary one as long as the result lives.
    weights: weights file (.safetensors, .npz, .tflite, TensorFlow checkpoint); None draws them with `seed`.
    raw: end with box encodings and class scores instead of detections.
    precision: fp32, or int8 with `calibration`, a folder of pictures or an .npz file. A quantized network that lost
    too much is refused unless allow_degraded; the manifest then says so.
    keep_float: blocks that stay float in an int8 network. width: multiplier of the channels.
    size: pixels of the square picture, or (height, width). threads: processes that compile at once.
    check: run the result against the reference before it takes its place.

    Raises a child of MdcError for what the user can mend; then nothing is left behind.
    """
    height_px, width_px = (size, size) if isinstance(size, int) else size or (None, None)
    request = Request(spec, weights, seed, raw, width, height_px, width_px)
    quantization = Quantize(None if calibration is None else Path(calibration), allow_degraded, tuple(keep_float))
    job = Job(request, _target(target), precision, threads or os.cpu_count() or 1, check, progress, quantization)
    return job.compile(None if out is None else Path(out))


@dataclass(frozen=True)
class Quantize:
    """How to quantize.

    calibration: pictures or an .npz file. allow_degraded: ship a network that lost too much as well. keep_float:
    blocks or kernels that stay float.
    """

    calibration: Path | None = None
    allow_degraded: bool = False
    keep_float: tuple[str, ...] = ()


@dataclass
class Job:
    """One compilation."""

    request: Request
    target: Target
    precision: str = "fp32"
    threads: int = 1
    check: bool = True
    progress: Progress = silent
    quantization: Quantize = Quantize()
    backend: Backend = field(init=False)
    _pipeline: Pipeline = field(init=False)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UnsupportedError(
                f"compiling with precision {self.precision!r}: there is {', '.join(PRECISIONS)}. Choose one of these."
            )
        if (self.precision == "int8") != (self.quantization.calibration is not None):
            raise UnsupportedError(
                f"compiling with precision {self.precision}: int8 needs calibration data and fp32 has no use for it. "
                "Give both `--precision int8` and `--calibration DIR` (pictures, or an .npz file), or neither."
            )
        self.backend = find_backend(self.target.backend)
        self._pipeline = Pipeline(self.progress)

    def graph_after(self, stage: Stage) -> Module:
        """The network as it is when `stage` is over."""
        module = self._read()
        return self._transform(module, STAGES[: STAGES.index(stage) + 1])

    def compile(self, out: Path | None) -> Artifact:
        """Run every stage and write the artifact."""
        if out is not None:
            check_destination(out)
        module = self._read()
        source = describe_source(self.request, module)
        check = self._check_file(module) if self.precision == "fp32" else {}
        border = STAGES.index("place")
        self._transform(module, STAGES[:border])
        check = check or self._check_file(module)
        self._transform(module, STAGES[border:])
        emission = self.backend.emit(module, self.progress, self.threads)
        files = {**emission.files, **check}
        manifest = build_manifest(
            module, source, self.precision, self.backend, emission.facts, file_entries(files), self._why_no_check()
        )
        return _write(out, manifest, files)

    def _read(self) -> Module:
        self.progress("read", 0, 1)
        module = read_network(self.request, self.target)
        self.progress("read", 1, 1)
        return module

    def _transform(self, module: Module, stages: tuple[Stage, ...]) -> Module:
        for stage in stages:
            if stage == "quantize" and self.precision == "int8":
                self._pipeline.run(module, self._quantization_passes(module))
            self._pipeline.run(module, self.passes(stage))
        return module

    def _quantization_passes(self, module: Module) -> Sequence[Pass]:
        from mdcompiler.calibration import open_samples
        from mdcompiler.passes import quantization_passes

        assert self.quantization.calibration is not None
        samples = open_samples(self.quantization.calibration, module)
        return quantization_passes(
            samples, self.quantization.allow_degraded, self.quantization.keep_float, self.progress
        )

    def passes(self, stage: Stage) -> list[Pass]:
        """What runs in `stage`: the built-in passes, then those of plug-ins, then the backend's own."""
        everything = (*builtin_passes(), *plugin_passes(), *self.backend.passes(self.target))
        return [item for item in everything if item.stage == stage]

    def _check_file(self, module: Module) -> dict[str, bytes]:
        """What the reference says: to the network as it was read, or to its integers."""
        if self._why_no_check():
            return {}
        self.progress("reference", 0, 1)
        inputs, outputs = tensor_specs(input_specs(module)), tensor_specs(output_specs(module))
        packed = self_check.record_check(inputs, outputs, _reference_of(module, [item.name for item in outputs]))
        self.progress("reference", 1, 1)
        return {self_check.CHECK_FILE: packed}

    def _why_no_check(self) -> str:
        if not self.check:
            return "switched off when it was compiled"
        if self.target.zig or missing_flags(self.target):
            return f"compiled on a machine that cannot run {self.target.name}"
        return ""


def _reference_of(module: Module, outputs: list[str]) -> self_check.Run:
    """The arbiter for `module` as it is now: the integer reference once it is quantized, else ONNX."""
    from mdcompiler.quantization.integer_reference import IntegerReference
    from mdcompiler.quantization.scheme import SCHEME_KEY, find_scheme

    if SCHEME_KEY in module.metadata:
        reference = IntegerReference(module, find_scheme(module.metadata[SCHEME_KEY]))

        def run(arrays: dict[str, Any]) -> dict[str, Any]:
            values = reference.run(arrays)
            return {name: values[name] for name in outputs}

        return run
    model = module.to_onnx()
    return lambda arrays: run_reference(model, arrays)


def _inspect(artifact: Artifact) -> None:
    """Run the finished files, when this machine can, before they take their place."""
    if artifact.manifest.check:
        return
    with Detector.open(artifact) as detector:
        faults = self_check.check_faults(artifact.directory, artifact.manifest.inputs, detector.run)
    if faults:
        raise InternalError(
            f"the compiled network does not do what its source says: {'; '.join(faults)}. "
            "Compile again with MDC_VERIFY=2: it names the pass, or shows that the passes are right."
        )


def _write(out: Path | None, manifest: Manifest, files: dict[str, bytes]) -> Artifact:
    if out is not None:
        return write_artifact(out, manifest, files, _inspect)
    folder = tempfile.mkdtemp(prefix="mdcompiler-")
    try:
        artifact = write_artifact(Path(folder) / "artifact", manifest, files, _inspect)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(artifact, shutil.rmtree, folder, ignore_errors=True)
    return artifact


def _target(target: str | Target) -> Target:
    return target if isinstance(target, Target) else find_target(target)


def stage_named(name: str) -> Stage:
    """The stage called `name`. Raises UnsupportedError naming those there are."""
    for stage in STAGES:
        if stage == name:
            return stage
    raise UnsupportedError(f"stage {name!r} is unknown; there are {', '.join(STAGES)}. Choose one of them.")

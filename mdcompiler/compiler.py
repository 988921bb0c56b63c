"""`mdcompiler.compile`: from a spec or an ONNX file to an artifact, every stage in order.

read -> simplify -> fuse -> quantize -> place -> emit -> check against the reference -> artifact
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike, NDArray

from mdcompiler.arbiter import check_of
from mdcompiler.array_files import read_arrays
from mdcompiler.artifact import Artifact, check_destination, file_entries
from mdcompiler.backend import Backend, check_ready, input_specs, rounding_kernels, shows_head
from mdcompiler.build_manifest import build_manifest, tensor_specs
from mdcompiler.compile_pass import STAGES, Pass, Stage
from mdcompiler.conditioning import widened_check
from mdcompiler.errors import InputError, SpecError, TargetError, UnsupportedError
from mdcompiler.finish_artifact import WrongNumbersError, finish_artifact
from mdcompiler.inputs import checked_inputs
from mdcompiler.kernel import DIRECT, kernel_name
from mdcompiler.manifest import Manifest, Source
from mdcompiler.meaning import check_meaning
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline
from mdcompiler.processes import compile_processes
from mdcompiler.progress import Progress, silent
from mdcompiler.quantization.check import check_quantized
from mdcompiler.quantization.check_rounding import check_scheme
from mdcompiler.quantization.options import Quantize
from mdcompiler.quantization.scheme import SCHEME_KEY
from mdcompiler.read_network import Request, describe_source, read_network
from mdcompiler.registry import backend as find_backend
from mdcompiler.registry import plugin_passes
from mdcompiler.sampling import sample_inputs
from mdcompiler.self_check import CHECK_FILE, Check
from mdcompiler.spec import Spec
from mdcompiler.target import Target, find_target

PRECISIONS = ("fp32", "int8")
_PLACE = STAGES.index("place")


def compile(  # noqa: A001 - mdcompiler.compile is the toolkit's first word, as re.compile is of re
    spec: str | Path | Spec,
    target: str | Path | Target = "cpu",
    out: str | Path | None = None,
    *,
    weights: str | Path | None = None,
    seed: int = 0,
    raw: bool = False,
    precision: str = "fp32",
    calibration: str | Path | Quantize | None = None,
    width: float | None = None,
    size: int | tuple[int, int] | None = None,
    threads: int | None = None,
    check: bool = True,
    check_input: str | Path | Mapping[str, ArrayLike] | None = None,
    progress: Progress = silent,
) -> Artifact:
    """Compile a network for a machine.

    spec: name in the zoo, path of a spec (.yaml, .json) or of an ONNX file, or a `Spec`.
    target: name from `mdc targets`, path of a target file, or a `Target`.
    out: directory of the artifact; None keeps it in a temporary one as long as the result lives.
    weights: weights file (.safetensors, .npz, .pth, .tflite, TensorFlow checkpoint); None draws them with `seed`.
    raw: end with box encodings and class scores instead of detections.
    precision: fp32, or int8 with `calibration`: a folder of pictures, an .npz file, or a `Quantize`, which says more.
    An ONNX file that the toolkit quantized keeps its integers, without either.
    A quantized network that lost too much is refused with the cheapest cure that was found.
    width: multiplier of the channels. size: pixels of the square picture, or (height, width).
    threads: processes that compile at once.
    check: run the result against the reference before it takes its place.
    check_input: arrays to check it with, by name or as an .npz file; None draws several that fit the operators.

    Raises a child of MdcError for what the user can mend; then nothing is left behind.
    """
    if not isinstance(spec, (str, Path, Spec)):
        raise SpecError(f"compiling {spec!r}: a network is a name of the zoo, a path or a Spec. Give one of these.")
    height_px, width_px = _height_width(size)
    request = Request(spec, weights, seed, raw, width, height_px, width_px)
    quantization = Quantize(Path(calibration)) if isinstance(calibration, (str, Path)) else calibration
    job = Job(request, _target(target), precision, threads or compile_processes(), check, progress, quantization)
    job.check_input = check_input
    return job.compile(None if out is None else Path(out))


@dataclass
class Job:
    """One compilation."""

    request: Request
    target: Target
    precision: str = "fp32"
    threads: int = 1
    check: bool = True
    progress: Progress = silent
    quantization: Quantize | None = None
    check_input: str | Path | Mapping[str, ArrayLike] | None = None
    backend: Backend = field(init=False)
    _pipeline: Pipeline = field(init=False)

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UnsupportedError(
                f"compiling with precision {self.precision!r}: there is {', '.join(PRECISIONS)}. Choose one of these."
            )
        if (self.precision == "int8") != (self.quantization is not None):
            self._refuse_half_a_wish(self.precision == "int8" and self.request.is_onnx)
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
        check_ready(self.backend, self.target)
        module = self._read()
        source = describe_source(self.request, module)
        check = self._check_file(module) if self.precision == "fp32" else {}
        self.prepare(module)
        check = check or self._check_file(module)
        manifest, files = self.build(module, source, check)
        try:
            return finish_artifact(out, manifest, files)
        except WrongNumbersError as error:
            return self._with_less_rounding(module, source, check, out, error)

    def _with_less_rounding(
        self, module: Module, source: Source, check: dict[str, bytes], out: Path | None, error: WrongNumbersError
    ) -> Artifact:
        """The artifact with as few kernels as possible computed directly: one, two, four … of the worst.

        Where that does not help, the check learns what other orders of float32 bring.
        module: placed. error: of the artifact as it was. Raises WrongNumbersError when that is not what is wrong.
        """
        worst, direct = rounding_kernels(self.backend, module, self._given(module) or sample_inputs(module)), 0
        while direct < len(worst):
            direct = min(max(1, 2 * direct), len(worst))
            for node in module.graph.nodes:
                if kernel_name(node) in worst[:direct]:
                    node.attrs[DIRECT] = True
            manifest, files = self._emitted(module, source, check, {"direct_kernels": worst[:direct]})
            try:
                return finish_artifact(out, manifest, files)
            except WrongNumbersError as still:
                error = still
        widened = self._widened(module, check)
        if widened == check:
            raise error
        facts = {"direct_kernels": worst, "ill_conditioned": True}
        return finish_artifact(out, *self._emitted(module, source, widened, facts))

    def _widened(self, module: Module, check: dict[str, bytes]) -> dict[str, bytes]:
        """The check file for a network that is ill-conditioned; the same where nothing more is known."""
        if CHECK_FILE not in check:
            return check
        names = [tensor.name for tensor in module.graph.outputs]
        known = Check.from_bytes(check[CHECK_FILE], tensor_specs(input_specs(module)), names)
        widened = widened_check(known, module)
        return check if widened is None else {CHECK_FILE: widened.to_bytes()}

    def prepare(self, module: Module) -> None:
        """Every stage before placement, in `module` itself: simplified, fused, quantized."""
        self._transform(module, STAGES[:_PLACE])

    def build(self, module: Module, source: Source, check: dict[str, bytes]) -> tuple[Manifest, dict[str, bytes]]:
        """Place and emit a prepared `module`: the manifest and the files of an artifact, not written yet.

        module: prepared by this job, or by one for another target. source: what was read; check: the check file by its
        name, or nothing.
        """
        if not self._pipeline.ran:
            self._pipeline.ran += [item.name for stage in STAGES[:_PLACE] for item in self.passes(stage)]
        self._transform(module, STAGES[_PLACE:])
        return self._emitted(module, source, check, {})

    def _emitted(
        self, module: Module, source: Source, check: dict[str, bytes], facts: dict[str, Any]
    ) -> tuple[Manifest, dict[str, bytes]]:
        emission = self.backend.emit(module, self.progress, self.threads)
        files = {**check, **emission.files}  # a backend that rounds in its own way brings its check file
        manifest = build_manifest(
            module,
            source,
            self.precision,
            self.backend,
            {**emission.facts, **facts},
            file_entries(files),
            self.why_no_check(),
        )
        return manifest, files

    def _read(self) -> Module:
        self.progress("read", 0, 1)
        module = read_network(self.request, self.target)
        if self.check:
            check_meaning(module, self._given(module) or sample_inputs(module))
        self._settle_precision(module)
        self.progress("read", 1, 1)
        return module

    def _settle_precision(self, module: Module) -> None:
        """A network that the toolkit quantized before is compiled with its own integers."""
        quantized = SCHEME_KEY in module.metadata
        if quantized and self.quantization is not None:
            raise UnsupportedError(
                f"compiling {self.request.network} with calibration data: the network is quantized already. "
                "Leave --calibration and what belongs to it out."
            )
        if quantized:
            check_scheme(module)
            check_quantized(module.graph)
            self.precision = "int8"
        elif self.precision == "int8" and self.quantization is None:
            self._refuse_half_a_wish()

    def _refuse_half_a_wish(self, later: bool = False) -> None:
        """later: a file may turn out to hold integers."""
        if not later:
            raise UnsupportedError(
                f"compiling with precision {self.precision}: int8 needs calibration data and fp32 has no use for it. "
                "Give both `--precision int8` and `--calibration DIR` (pictures, or an .npz file), or neither."
            )

    def _transform(self, module: Module, stages: tuple[Stage, ...]) -> Module:
        for stage in stages:
            if stage == "quantize" and self.quantization is not None:
                self._pipeline.run(module, self._quantization_passes(module, self.quantization))
            self._pipeline.run(module, self.passes(stage))
        return module

    def _quantization_passes(self, module: Module, options: Quantize) -> Sequence[Pass]:
        from mdcompiler.passes import quantization_passes

        return quantization_passes(
            module, options, lambda kernel: self.backend.why_not(kernel, self.target), self.progress
        )

    def passes(self, stage: Stage) -> list[Pass]:
        """What runs in `stage`: the built-in passes, then those of plug-ins, then the backend's own."""
        everything = (*builtin_passes(), *plugin_passes(), *self.backend.passes(self.target))
        return [item for item in everything if item.stage == stage]

    def _check_file(self, module: Module) -> dict[str, bytes]:
        """What the arbiter says: to the network as it was read, or to its integers.

        Written wherever the result can run: where it cannot here, `mdc verify` compares on the device.
        """
        if not self.check:
            return {}
        self.progress("reference", 0, 1)
        packed = {CHECK_FILE: check_of(module, self._given(module), not shows_head(self.backend)).to_bytes()}
        self.progress("reference", 1, 1)
        return packed

    def _given(self, module: Module) -> dict[str, NDArray[Any]] | None:
        """The arrays that the user gave to check with. Raises InputError when they do not fit `module`."""
        if self.check_input is None:
            return None
        specs = tensor_specs(input_specs(module))
        if isinstance(self.check_input, (str, Path)):
            return checked_inputs(specs, read_arrays(Path(self.check_input), specs))
        return checked_inputs(specs, self.check_input)

    def why_no_check(self) -> str:
        """Why the artifact has no check file, as its manifest says; "" when it has one."""
        return "" if self.check else "switched off when it was compiled"


def _target(target: str | Path | Target) -> Target:
    if not isinstance(target, (str, Path, Target)):
        raise TargetError(f"compiling for the target {target!r}: it is a name, a path or a Target. See `mdc targets`.")
    return target if isinstance(target, Target) else find_target(str(target))


def _height_width(size: int | tuple[int, int] | None) -> tuple[int | None, int | None]:
    if size is None or isinstance(size, int):
        return size, size
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise InputError(
            f"compiling with size {size!r}: it is a number of pixels or (height, width). Give one of these."
        )
    return size[0], size[1]


def stage_named(name: str) -> Stage:
    """The stage called `name`. Raises UnsupportedError naming those there are."""
    for stage in STAGES:
        if stage == name:
            return stage
    raise UnsupportedError(f"stage {name!r} is unknown; there are {', '.join(STAGES)}. Choose one of them.")

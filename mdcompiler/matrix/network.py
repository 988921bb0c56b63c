"""One network of a matrix: read once, quantized once a scheme, with what the arbiter says to it.

Targets share what is the same for them: everything before placement depends on the precision, the scheme and the
passes that a backend adds before that, and on nothing else of the target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mdcompiler.arbiter import check_of
from mdcompiler.backend import input_specs
from mdcompiler.build_manifest import tensor_specs
from mdcompiler.compiler import Job
from mdcompiler.errors import MdcError
from mdcompiler.manifest import Source, TensorSpec
from mdcompiler.matrix.boundaries import boundaries, tapped
from mdcompiler.matrix.calibration import quantize_options
from mdcompiler.matrix.options import MatrixOptions
from mdcompiler.module import Module
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.options import Quantize
from mdcompiler.quantization.scheme import read_scheme
from mdcompiler.read_network import Request, describe_source, read_network
from mdcompiler.reference import run_reference
from mdcompiler.self_check import Check
from mdcompiler.target import Target, find_target
from mdcompiler.tolerance import stored_share

Arrays = dict[str, NDArray[Any]]
_NO_MACHINE = "null"


@dataclass
class Prepared:
    """A network as it is before placement, and what the arbiter says to it.

    values: the outputs and the tensors between blocks for the first input of the check, as float32 or integers have
    them. check: what artifacts are compared with.
    """

    module: Module
    inputs: tuple[TensorSpec, ...]
    values: Arrays
    check: Check

    def copy(self, target: Target) -> Module:
        """The network, to be placed for `target`."""
        return copy_of(self.module, target)


@dataclass
class Network:
    """folder: for what is made on the way. Raises MdcError when the network cannot be read."""

    request: Request
    options: MatrixOptions
    folder: Path
    original: Module = field(init=False)
    source: Source = field(init=False)
    _known: dict[str, Prepared | MdcError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.original = read_network(self.request, find_target(_NO_MACHINE))
        self.source = describe_source(self.request, self.original)

    def job(self, target: Target, precision: str) -> Job:
        """The compilation for `target`."""
        quantization = self._quantization() if precision == "int8" else None
        return Job(self.request, target, precision, self.options.threads, True, quantization=quantization)

    def prepared(self, job: Job) -> Prepared:
        """The network before placement; an error that was met before is raised again."""
        early = [repr(item) for item in job.backend.passes(job.target) if item.stage != "place"]
        scheme = job.target.scheme if job.precision == "int8" else ""
        key = f"{job.precision} {scheme} {stored_share(job.target.dtypes)} {early}"
        if key not in self._known:
            self._known[key] = self._prepare(job)
        found = self._known[key]
        if isinstance(found, MdcError):
            raise found
        return found

    def _quantization(self) -> Quantize:
        return quantize_options(self.options, self.original, self.folder)

    def _prepare(self, job: Job) -> Prepared | MdcError:
        module = copy_of(self.original, job.target)
        try:
            job.prepare(module)
        except MdcError as error:
            return error
        inputs = tensor_specs(input_specs(module))
        scheme = read_scheme(module.metadata)
        check = check_of(copy_of(self.original, job.target) if scheme is None else module)
        values = self._tensors(module)(check.inputs[0])
        return Prepared(module, inputs, values, check)

    def _tensors(self, module: Module) -> Callable[[Arrays], Arrays]:
        """The tensors between blocks, and the outputs, as a reference gives them."""
        scheme = read_scheme(module.metadata)
        if scheme is not None:
            return IntegerReference(module, scheme).run
        whole, parts = self.original.to_onnx(), tapped(module, boundaries(module.graph)).to_onnx()
        return lambda arrays: {**run_reference(parts, arrays), **run_reference(whole, arrays)}


def copy_of(module: Module, target: Target) -> Module:
    """A copy that nothing is shared with."""
    return Module.from_onnx(module.to_onnx(), target)

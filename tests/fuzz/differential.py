"""Random networks four ways: the file under ONNX Runtime, after the passes, as a float and as an int8 library.

The compiler's own check is off, so that what is compared here is compared by this alone: with the arbiter, within what
it allows (`mdcompiler.tolerance`), integers exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mdcompiler.arbiter import check_of
from mdcompiler.artifact import Artifact, write_artifact
from mdcompiler.compiler import Job
from mdcompiler.detector import load
from mdcompiler.errors import MdcError
from mdcompiler.module import Module
from mdcompiler.quantization.options import Quantize
from mdcompiler.read_network import Request, describe_source
from mdcompiler.reference import run_reference
from mdcompiler.target import Target, find_target
from tests.fuzz.networks import random_inputs, random_network
from tests.fuzz.outcome import Outcome, of_exception

Arrays = Mapping[str, NDArray[Any]]
_SAMPLES = 4
_CALIBRATED, _RUN = 0, 100


class Differential:
    """Cases are numbers of networks, or `FILE` with a model. seed: of the numbers. target: what is compiled for."""

    def __init__(self, seed: int = 0, target: str = "cpu") -> None:
        self.seed, self.target = seed, find_target(target)

    def run(self, case: str, folder: Path) -> Outcome:
        file = folder / "network.onnx"
        if case.isdigit():
            file.write_bytes(random_network(self.seed, int(case)).SerializeToString())
        else:
            file.write_bytes(Path(case).read_bytes())
        trial = Trial.of(file, self.target)
        stages: dict[str, Callable[[], str]] = {"float": trial.float_fault, "int8": trial.integer_fault}
        refused = []
        for stage, fault in stages.items():
            try:
                found = fault()
            except MdcError as error:
                refused.append(f"{stage}: {error}")
                continue
            except Exception as error:
                outcome = of_exception(error)
                return Outcome(outcome.verdict, f"{stage}: {outcome.text}", f"{stage} {outcome.where}")
            if found:
                return Outcome("wrong", f"{stage}: {found}", stage)
        return Outcome("refused", "; ".join(refused)) if refused else Outcome("right")


@dataclass(frozen=True)
class Trial:
    """One network. inputs: what it is run on; expected: what the file's own bytes say to them."""

    file: Path
    target: Target
    inputs: Arrays
    expected: Arrays

    @classmethod
    def of(cls, file: Path, target: Target) -> Trial:
        model = onnx.load_model_from_string(file.read_bytes())
        inputs = random_inputs(model, _RUN)
        return cls(file, target, inputs, run_reference(model, inputs))

    def float_fault(self) -> str:
        """What the file, the passes or the float library compute otherwise than the arbiter; "" when nothing."""
        job = Job(Request(self.file), self.target, "fp32", 1, check=False)
        module = job.graph_after("read")
        source, check = describe_source(job.request, module), check_of(module, dict(self.inputs))
        job.prepare(module)
        stages: dict[str, Callable[[], Arrays]] = {
            "the file itself": lambda: self.expected,
            "after the passes": lambda: run_reference(module.to_onnx(), self.inputs),
            "library": lambda: self._library(job, module, source),
        }
        for stage, run in stages.items():
            faults = check.faults_of(0, run())
            if faults:
                return f"{stage}: {'; '.join(faults)}"
        return ""

    def integer_fault(self) -> str:
        """Where the int8 library differs from the integer reference; "" when nowhere."""
        calibration = self.file.with_name("samples.npz")
        model = onnx.load_model_from_string(self.file.read_bytes())
        rows = [random_inputs(model, _CALIBRATED + at) for at in range(_SAMPLES)]
        stacks: dict[str, Any] = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        np.savez(calibration, **stacks)
        job = Job(Request(self.file), self.target, "int8", 1, False, quantization=Quantize.plainly(calibration))
        module = job.graph_after("read")
        source = describe_source(job.request, module)
        job.prepare(module)
        check = check_of(module, dict(self.inputs))
        return "; ".join(check.faults_of(0, self._library(job, module, source)))

    def _library(self, job: Job, module: Module, source: Any) -> dict[str, NDArray[Any]]:
        """The outputs of `module` compiled and run."""
        manifest, files = job.build(module, source, {})
        folder = self.file.parent / job.precision
        write_artifact(folder, manifest, files, _nothing)
        with load(folder) as network:
            return network.run(self.inputs)


def _nothing(artifact: Artifact) -> None:
    """No check before the artifact takes its place."""

"""The folder through which the toolkit and its child process speak about one kernel.

    job.json  model.onnx                                    written by the toolkit
    functions.json  object.o  constants.npz  answer.json    written by the child; the answer last

`answer.json` holds the calls or, under `refused`, the reason. No pickle is written or read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from mdcompiler.backends.legalize.legal_kernel import LegalCall, LegalKernel, TensorType

_JOB, _MODEL = "job.json", "model.onnx"
_ANSWER, _CONSTANTS, _OBJECT, _FUNCTIONS = "answer.json", "constants.npz", "object.o", "functions.json"


@dataclass(frozen=True)
class Job:
    """What the child is asked.

    prefix: of the names of functions. macs: multiply-adds, which decide whether the numbers are checked.
    """

    prefix: str
    llvm_target: dict[str, Any]
    alignment_bytes: int
    macs: int


def write_job(folder: Path, job: Job, model: onnx.ModelProto) -> None:
    """Make `folder` and put the question there."""
    folder.mkdir()
    (folder / _JOB).write_text(json.dumps(asdict(job)))
    (folder / _MODEL).write_bytes(model.SerializeToString())


def read_job(folder: Path) -> tuple[Job, onnx.ModelProto]:
    return Job(**json.loads((folder / _JOB).read_text())), onnx.load(str(folder / _MODEL))


def is_answered(folder: Path) -> bool:
    return (folder / _ANSWER).exists()


def write_refusal(folder: Path, reason: str) -> None:
    _write_answer(folder, {"refused": reason})


def write_kernel(folder: Path, kernel: LegalKernel) -> None:
    """Put a finished kernel into `folder`."""
    (folder / _OBJECT).write_bytes(kernel.object_code)
    (folder / _FUNCTIONS).write_text(kernel.functions_json)
    _save_arrays(folder / _CONSTANTS, kernel.constants)
    answer = {
        "name": kernel.name,
        "calls": [asdict(call) for call in kernel.calls],
        "temporaries": kernel.temporaries,
        "constants": list(kernel.constants),
        "checked": kernel.checked,
    }
    _write_answer(folder, answer)


def read_kernel(folder: Path) -> LegalKernel | str:
    """The finished kernel, or the reason for its refusal."""
    answer = json.loads((folder / _ANSWER).read_text())
    if "refused" in answer:
        return str(answer["refused"])
    return LegalKernel(
        name=answer["name"],
        calls=tuple(_call(entry) for entry in answer["calls"]),
        temporaries={name: _tensor_type(entry) for name, entry in answer["temporaries"].items()},
        constants=_load_arrays(folder / _CONSTANTS, answer["constants"]),
        object_code=(folder / _OBJECT).read_bytes(),
        functions_json=(folder / _FUNCTIONS).read_text(),
        checked=answer["checked"],
    )


def _write_answer(folder: Path, answer: dict[str, Any]) -> None:
    draft = folder / f"{_ANSWER}.part"
    draft.write_text(json.dumps(answer))
    draft.rename(folder / _ANSWER)


def _call(entry: Mapping[str, Any]) -> LegalCall:
    return LegalCall(entry["function"], tuple(entry["inputs"]), tuple(entry["outputs"]), tuple(entry["workspace"]))


def _tensor_type(entry: list[Any]) -> TensorType:
    shape, dtype = entry
    return tuple(shape), dtype


def _save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    # Tensor names may hold any character, so that members of the archive are numbered.
    np.savez(path, *arrays.values(), allow_pickle=False)


def _load_arrays(path: Path, names: list[str]) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[f"arr_{index}"] for index, name in enumerate(names)}

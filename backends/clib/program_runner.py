"""A compiled program under Python: inputs go to it as files, outputs come back as files.

For machines whose code cannot be loaded into this process. Every call is a process and a folder of its own, so the
object may be used from several threads at once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdcompiler.errors import ArtifactError, InternalError
from mdcompiler.inputs import checked_inputs
from mdcompiler.manifest import TensorSpec

_SECONDS = 3600
"""A large network takes minutes in an emulator."""


class ProgramRunner:
    """One `model_run`.

    launcher: what stands before the program in its command, an emulator or nothing. inputs, outputs: name, shape and
    dtype of the tensors as the manifest states them. threads: of one call.
    """

    def __init__(
        self,
        launcher: Sequence[str],
        program: Path,
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]],
        threads: int = 1,
    ) -> None:
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._command = [*launcher, str(self._executable(program)), "-t", str(threads)]
        self._inputs = [TensorSpec.model_validate(item) for item in inputs]
        self._outputs = [TensorSpec.model_validate(item) for item in outputs]

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises InputError when `inputs` do not fit, InternalError when the program fails."""
        with tempfile.TemporaryDirectory(prefix="mdc-run-") as name:
            folder = Path(name)
            places = [folder / f"output_{index}" for index in range(len(self._outputs))]
            self._start([*self._write(folder, inputs), *map(str, places)])
            return {item.name: _read(place, item) for place, item in zip(places, self._outputs, strict=True)}

    def close(self) -> None:
        """Delete the copy of the program, if one was made."""
        if self._copy is not None:
            self._copy.cleanup()

    def _executable(self, program: Path) -> Path:
        """`program`, or a copy that may be started: archives and file systems lose that permission."""
        if os.access(program, os.X_OK):
            return program.absolute()
        self._copy = tempfile.TemporaryDirectory(prefix="mdc-program-")
        copy = Path(self._copy.name) / program.name
        try:
            shutil.copyfile(program, copy)
        except OSError as error:
            self.close()
            raise ArtifactError(f"opening {program}: {error.strerror}. Compile the network again.") from error
        copy.chmod(0o700)
        return copy

    def _write(self, folder: Path, inputs: Mapping[str, ArrayLike]) -> list[str]:
        paths = []
        for index, array in enumerate(checked_inputs(self._inputs, inputs).values()):
            path = folder / f"input_{index}"
            path.write_bytes(array.tobytes())
            paths.append(str(path))
        return paths

    def _start(self, files: Sequence[str]) -> None:
        command = [*self._command, *files]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        except OSError as error:
            raise ArtifactError(f"starting {command[0]}: {error}. Compile the network again.") from error
        except subprocess.TimeoutExpired as error:
            raise InternalError(f"the compiled program was not done after {_SECONDS} s; send the artifact.") from error
        if done.returncode:
            said = done.stderr.strip()[-2000:]
            raise InternalError(f"the compiled program failed with status {done.returncode}: {said}")


def _read(path: Path, item: TensorSpec) -> NDArray[Any]:
    return np.fromfile(path, np.dtype(item.dtype)).reshape(item.shape)

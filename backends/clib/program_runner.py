"""A compiled program under Python: inputs go to it as files, outputs come back as files.

For machines whose code cannot be loaded into this process. Every call is a process and a folder of its own, so the
object may be used from several threads at once.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdcompiler.artifact import listed_bytes
from mdcompiler.errors import ArtifactError, InternalError
from mdcompiler.foreign import read_file, reason
from mdcompiler.inputs import checked_inputs
from mdcompiler.manifest import MAX_FILE_BYTES, TensorSpec
from mdcompiler.scratch import scratch_folder, scratch_folder_of

_SECONDS = 3600
"""A large network takes minutes in an emulator."""


class ProgramRunner:
    """One `model_run`.

    launcher: what stands before the program in its command, an emulator or nothing. inputs, outputs: name, shape and
    dtype of the tensors as the manifest states them. threads: of one call. content: the program, where it was read
    already. Raises ArtifactError.
    """

    def __init__(
        self,
        launcher: Sequence[str],
        program: Path,
        inputs: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]],
        threads: int = 1,
        content: bytes | None = None,
    ) -> None:
        self._folder = scratch_folder_of("program")
        self._command = [*launcher, str(self._executable(program, content)), "-t", str(threads)]
        self._inputs = [TensorSpec.model_validate(item) for item in inputs]
        self._outputs = [TensorSpec.model_validate(item) for item in outputs]

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Outputs by name. Raises InputError when `inputs` do not fit, InternalError when the program fails."""
        with scratch_folder("run") as folder:
            places = [folder / f"output_{index}" for index in range(len(self._outputs))]
            self._start([*self._write(folder, inputs), *map(str, places)])
            return {item.name: _read(place, item) for place, item in zip(places, self._outputs, strict=True)}

    def close(self) -> None:
        """Delete the program."""
        self._folder.release()

    def _executable(self, program: Path, content: bytes | None) -> Path:
        """A private file that may be started: archives lose that permission, and a file elsewhere may change."""
        path = self._folder.path / program.name
        try:
            path.write_bytes(read_file(program, MAX_FILE_BYTES) if content is None else content)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"opening {program}: {reason(error)}. Compile the network again.") from error
        path.chmod(0o700)
        return path

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


def open_listed(
    launcher: Sequence[str], directory: Path, manifest: Mapping[str, Any], name: str, threads: int
) -> ProgramRunner:
    """The program `name` of an artifact: the bytes that its manifest states. Raises ArtifactError."""
    content = listed_bytes(directory, manifest, name)
    return ProgramRunner(launcher, directory / name, manifest["inputs"], manifest["outputs"], threads, content)


def _read(path: Path, item: TensorSpec) -> NDArray[Any]:
    return np.fromfile(path, np.dtype(item.dtype)).reshape(item.shape)

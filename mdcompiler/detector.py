"""A compiled network ready to run.

import mdcompiler
mdcompiler.compile("mobiledet-cpu", target="cpu", out="out")
print(mdcompiler.load("out").detect("street.jpg"))
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mdcompiler.artifact import Artifact, open_artifact
from mdcompiler.backend import why_not_run
from mdcompiler.detections import Detection, detections_from
from mdcompiler.errors import InputError, TargetError, UnsupportedError
from mdcompiler.inputs import checked_inputs
from mdcompiler.registry import running_backend

if TYPE_CHECKING:
    from PIL import Image

    from mdcompiler.backend import Runnable

MOST_THREADS = 1024
DETECTIONS = ("boxes", "classes", "scores", "count")


class Detector:
    """A loaded artifact; safe to call from several threads. Close it, or use it as a context manager."""

    def __init__(self, artifact: Artifact, runnable: Runnable) -> None:
        self.artifact = artifact
        self.runnable = runnable

    @classmethod
    def open(cls, artifact: Artifact, threads: int = 1) -> Detector:
        """Load the files of `artifact`, whose hashes were compared. threads: of one call."""
        if not 1 <= threads <= MOST_THREADS:
            raise InputError(f"opening {artifact.directory}: {threads} threads; 1 to {MOST_THREADS} can be asked for.")
        manifest = artifact.manifest
        owner = running_backend(manifest.target.backend)
        reason = why_not_run(owner, manifest.target)
        if reason:
            raise TargetError(f"opening {artifact.directory}: {reason}")
        return cls(artifact, owner.load(artifact.directory, manifest.model_dump(mode="json"), threads))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in order; empty when unknown."""
        return self.artifact.manifest.labels

    def run(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Outputs by the names that the model has for them. Raises InputError when an array does not fit."""
        found = self.run_by_own_names(inputs)
        renamed = self.artifact.manifest.renamed
        return {renamed.get(name, name): array for name, array in found.items()} if renamed else found

    def run_by_own_names(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """Outputs as the manifest lists them: an input that is handed through has another name there."""
        return self.runnable.run(checked_inputs(self.artifact.manifest.inputs, inputs))

    def run_with_head(self, inputs: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """What `run_by_own_names` gives and, of a detector whose backend shows it, the raw head that the detections
        came from."""
        own = getattr(self.runnable, "run_with_head", self.runnable.run)
        found: dict[str, NDArray[Any]] = own(checked_inputs(self.artifact.manifest.inputs, inputs))
        return found

    def detect(self, image: str | Path | bytes | BinaryIO | NDArray[np.uint8] | Image.Image) -> list[Detection]:
        """What the network sees in a picture, best first.

        image: path, bytes of a file, open file, PIL image or RGB array uint8 [height, width, 3] of any size; resized.
        Raises ImageError for what is no picture, UnsupportedError when the network takes or gives something else.
        """
        from mdcompiler.images import as_picture, to_input

        picture = self.artifact.manifest.picture
        if picture is None or not set(DETECTIONS) <= {item.name for item in self.artifact.manifest.outputs}:
            raise UnsupportedError(
                f"detecting with {self.artifact.directory}: this network does not turn a picture into detections. "
                "Compile a detector without raw outputs, or use `run`."
            )
        tensor = to_input(as_picture(image), picture.height, picture.width)
        return detections_from(self.runnable.run({picture.input: tensor}), self.labels)

    def close(self) -> None:
        """Release what the backend holds."""
        self.runnable.close()

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load(directory: str | Path, threads: int = 1) -> Detector:
    """Open an artifact directory to run it.

    threads: processor threads of one call. Raises ArtifactError when a file is missing or altered, TargetError
    when this processor cannot run it.
    """
    return open_artifact(directory).load(threads)

"""The last step of a compilation: files in a directory, run once before they take their place."""

from __future__ import annotations

import weakref
from pathlib import Path

from mdcompiler.artifact import Artifact, write_artifact
from mdcompiler.backend import why_not_run
from mdcompiler.detector import Detector
from mdcompiler.errors import InternalError
from mdcompiler.manifest import Manifest
from mdcompiler.registry import running_backend
from mdcompiler.scratch import Scratch, scratch_folder_of
from mdcompiler.self_check import read_check


class WrongNumbersError(InternalError):
    """A compiled network is further from its source than its arithmetic explains."""


def finish_artifact(out: Path | None, manifest: Manifest, files: dict[str, bytes]) -> Artifact:
    """Write the artifact to `out`, or to a folder that goes when the result does.

    Raises WrongNumbersError when this machine can run it and it does not do what the arbiter says.
    """
    if out is not None:
        return write_artifact(out, manifest, files, _inspect)
    scratch = scratch_folder_of("artifact")
    artifact = write_artifact(scratch.path / "artifact", manifest, files, _inspect)
    weakref.finalize(artifact, Scratch.release, scratch)
    return artifact


def _inspect(artifact: Artifact) -> None:
    target = artifact.manifest.target
    if artifact.manifest.check or why_not_run(running_backend(target.backend), target):
        return
    with Detector.open(artifact) as detector:
        faults = read_check(artifact).faults(detector.run_with_head)
    if faults:
        raise WrongNumbersError(
            f"the compiled network does not do what its source says: {'; '.join(faults)}. "
            "Compile again with MDC_VERIFY=2: it names the pass, or shows that the passes are right."
        )

"""The last step of a compilation: files in a directory, run once before they take their place."""

from __future__ import annotations

import weakref
from pathlib import Path

from mdcompiler import self_check
from mdcompiler.artifact import Artifact, write_artifact
from mdcompiler.detector import Detector
from mdcompiler.errors import InternalError
from mdcompiler.manifest import Manifest
from mdcompiler.scratch import Scratch, scratch_folder_of
from mdcompiler.tolerance import tolerance_of


def finish_artifact(out: Path | None, manifest: Manifest, files: dict[str, bytes]) -> Artifact:
    """Write the artifact to `out`, or to a folder that goes when the result does.

    Raises InternalError when this machine can run it and it does not do what the arbiter says.
    """
    if out is not None:
        return write_artifact(out, manifest, files, _inspect)
    scratch = scratch_folder_of("artifact")
    artifact = write_artifact(scratch.path / "artifact", manifest, files, _inspect)
    weakref.finalize(artifact, Scratch.release, scratch)
    return artifact


def _inspect(artifact: Artifact) -> None:
    if artifact.manifest.check:
        return
    tolerance = tolerance_of(artifact.manifest.target.dtypes)
    with Detector.open(artifact) as detector:
        faults = self_check.check_faults(artifact.directory, artifact.manifest.inputs, detector.run, tolerance)
    if faults:
        raise InternalError(
            f"the compiled network does not do what its source says: {'; '.join(faults)}. "
            "Compile again with MDC_VERIFY=2: it names the pass, or shows that the passes are right."
        )

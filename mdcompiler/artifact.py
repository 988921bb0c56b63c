"""Artifacts: what a compile leaves behind, a directory with `manifest.json` and the files it lists.

An artifact is written beside its place and renamed into it, and read back only when every file has the
hash that the manifest states, so a truncated copy or an edited file is noticed before any of it runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mdcompiler.errors import ArtifactError, OutputError
from mdcompiler.manifest import MAX_MANIFEST_BYTES, FileEntry, Manifest, parse_manifest
from mdcompiler.write_aside import write_directory

if TYPE_CHECKING:
    from mdcompiler.detector import Detector

MANIFEST = "manifest.json"
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Artifact:
    """A compiled network on disk.

    directory: where it is; manifest: what it says of itself.
    """

    directory: Path
    manifest: Manifest

    def load(self, threads: int = 1) -> Detector:
        """Open it to run. Raises ArtifactError or TargetError, see `mdcompiler.load`."""
        from mdcompiler.detector import Detector

        return Detector.open(self, threads)

    @property
    def file_bytes(self) -> int:
        """Size of everything in the directory."""
        return self.manifest.file_bytes + (self.directory / MANIFEST).stat().st_size


def sha256(data: bytes) -> str:
    """SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_entries(files: Mapping[str, bytes]) -> tuple[FileEntry, ...]:
    """The manifest's rows for `files`, sorted by name."""
    return tuple(FileEntry(name=name, sha256=sha256(data), bytes=len(data)) for name, data in sorted(files.items()))


def check_destination(directory: Path) -> None:
    """Raise OutputError when nothing can be written there, or something else than an artifact would be lost."""
    if not directory.exists():
        _check_parent(directory)
        return
    if not directory.is_dir():
        raise OutputError(f"writing to {directory}: that is a file; give the path of a directory.")
    if any(directory.iterdir()) and not _is_artifact(directory):
        raise OutputError(
            f"writing to {directory}: the directory holds files that are no artifact of this toolkit. "
            "Give another path, or empty it first."
        )


def _check_parent(directory: Path) -> None:
    parent = next(folder for folder in directory.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        why = "cannot be written" if parent.is_dir() else "is a file"
        raise OutputError(f"writing to {directory}: {parent} {why}. Give another path.")


def write_artifact(
    directory: Path, manifest: Manifest, files: Mapping[str, bytes], inspect: Callable[[Artifact], None]
) -> Artifact:
    """Write `files` and `manifest` to `directory`, replacing an artifact there.

    inspect: called with the finished artifact before it takes its place; what it raises keeps it from doing so.
    Raises OutputError when the place cannot be written or holds something else.
    """
    check_destination(directory)
    everything = {**files, MANIFEST: manifest.to_json()}
    write_directory(directory, everything, lambda aside: inspect(Artifact(aside, manifest)))
    return Artifact(directory, manifest)


def open_artifact(directory: str | Path) -> Artifact:
    """The artifact in `directory`, every file compared with its hash.

    Raises ArtifactError when a file is missing, altered or the manifest malformed.
    """
    directory = Path(directory)
    manifest = parse_manifest(_read_manifest(directory / MANIFEST), str(directory / MANIFEST))
    faults = [fault for entry in manifest.files if (fault := _file_fault(directory, entry))]
    if faults:
        raise ArtifactError(
            f"opening {directory}: {'; '.join(faults)}. Copy the directory again, or compile the network again."
        )
    return Artifact(directory, manifest)


def _is_artifact(directory: Path) -> bool:
    try:
        parse_manifest(_read_manifest(directory / MANIFEST), str(directory))
    except ArtifactError:
        return False
    return True


def _read_manifest(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ArtifactError(
            f"opening {path.parent}: {path.name} cannot be read ({error.strerror}). "
            "Give the directory that `mdc compile … -o DIR` wrote."
        ) from error
    if len(text) > MAX_MANIFEST_BYTES:
        raise ArtifactError(f"opening {path}: larger than {MAX_MANIFEST_BYTES} bytes, so it is no manifest.")
    return text


def _file_fault(directory: Path, entry: FileEntry) -> str | None:
    path = directory / entry.name
    if path.is_symlink() or not path.is_file():
        return f"{entry.name} is missing" if not path.is_symlink() else f"{entry.name} is a link"
    size = path.stat().st_size
    if size != entry.bytes:
        return f"{entry.name} has {size} bytes instead of {entry.bytes}"
    return None if _digest(path) == entry.sha256 else f"{entry.name} was altered: its SHA-256 is not the manifest's"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()

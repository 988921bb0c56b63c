"""Artifacts: what a compile leaves behind, a directory with `manifest.json` and the files it lists.

An artifact is written beside its place and renamed into it, and read back only when every file has the
hash that the manifest states, so a truncated copy or an edited file is noticed before any of it runs. Files are read
once: what was hashed is what is used (`listed_bytes`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdcompiler.errors import ArtifactError, OutputError, UnsupportedError
from mdcompiler.foreign import open_file, read_file, reason, refusing
from mdcompiler.manifest import MANIFEST as MANIFEST
from mdcompiler.manifest import MAX_FILE_BYTES, MAX_MANIFEST_BYTES, FileEntry, Manifest, parse_manifest
from mdcompiler.write_aside import write_directory

if TYPE_CHECKING:
    from mdcompiler.detector import Detector

_CHUNK_BYTES = 1 << 20
_NAMED = 5
"""Files that a message names."""


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

    def read(self, name: str, limit_bytes: int = MAX_FILE_BYTES) -> bytes:
        """Its file `name`, compared with the hash in the manifest. Raises ArtifactError, also above `limit_bytes`."""
        return listed_bytes(self.directory, self.manifest.model_dump(mode="json", include={"files"}), name, limit_bytes)

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
    if not os.path.lexists(directory):
        _check_parent(directory)
        return
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"writing to {directory}: that is a file; give the path of a directory.")
    if directory.exists():
        _check_replaceable(directory, directory)


def _check_replaceable(folder: Path, told_as: Path) -> None:
    """Raise OutputError when `folder` holds anything that its own manifest does not list. told_as: its usual path."""
    foreign = _foreign_files(folder)
    if foreign:
        raise OutputError(
            f"writing to {told_as}: the directory holds {_some(foreign)}, which the toolkit did not write there. "
            "Move that away, or give another path."
        )


def _foreign_files(folder: Path) -> list[str]:
    """Everything in `folder` that no manifest of an artifact lists; the manifest too when it is none."""
    with refusing(f"writing to {folder}", OutputError, "Give another path."):
        names = sorted(path.name for path in folder.iterdir())
    if MANIFEST not in names:
        return names
    try:
        manifest = parse_manifest(_read_manifest(folder / MANIFEST), str(folder))
    except ArtifactError:
        return names
    return extra_files(folder, manifest)


def extra_files(folder: Path, manifest: Manifest) -> list[str]:
    """Names in `folder` that `manifest` does not list, and listed ones that are no plain file."""
    listed = {entry.name for entry in manifest.files} | {MANIFEST}
    plain = {path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink()}
    return sorted(path.name for path in folder.iterdir() if path.name not in listed & plain)


def _some(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


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
    text = manifest.to_json()
    if len(text) > MAX_MANIFEST_BYTES:
        raise UnsupportedError(
            f"writing to {directory}: the manifest would have {len(text)} bytes, at most {MAX_MANIFEST_BYTES} can be "
            "read. Give the network's nodes and tensors shorter names."
        )
    write_directory(
        directory,
        {**files, MANIFEST: text},
        lambda aside: inspect(Artifact(aside, manifest)),
        lambda replaced: _check_replaceable(replaced, directory),
    )
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


def verified_artifact(directory: str | Path) -> Artifact:
    """The same, and nothing else is in `directory`. Raises ArtifactError naming what is missing and what is extra."""
    artifact = open_artifact(directory)
    with refusing(f"verifying {directory}", ArtifactError, "Give a directory that can be listed."):
        extra = extra_files(artifact.directory, artifact.manifest)
    if extra:
        raise ArtifactError(
            f"verifying {directory}: the manifest does not list {_some(extra)}. Move that away: it is no part of the "
            "artifact."
        )
    return artifact


def listed_bytes(directory: Path, manifest: Mapping[str, Any], name: str, limit_bytes: int = MAX_FILE_BYTES) -> bytes:
    """The file `name` of an artifact, read once and compared with the hash in `manifest`.

    For backends: what is loaded from these bytes is what was hashed, whatever happens to the file afterwards.
    manifest: as handed to `Backend.load`; one that says nothing of files lets any pass. Raises ArtifactError.
    """
    known = manifest.get("files")
    entry = next((row for row in known or () if row["name"] == name), None)
    if entry is None and known is not None:
        raise ArtifactError(f"opening {directory}: its manifest lists no {name}. Compile the network again.")
    try:
        content = read_file(directory / name, limit_bytes)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"opening {directory / name}: {reason(error)}. Compile the network again.") from error
    if entry is not None and sha256(content) != entry["sha256"]:
        raise ArtifactError(f"opening {directory / name}: it was altered while it was read. Open the artifact again.")
    return content


def _read_manifest(path: Path) -> bytes:
    try:
        return read_file(path, MAX_MANIFEST_BYTES)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"opening {path.parent}: {path.name} cannot be read ({reason(error)}). "
            "Give the directory that `mdc compile … -o DIR` wrote."
        ) from error


def _file_fault(directory: Path, entry: FileEntry) -> str | None:
    path = directory / entry.name
    if path.is_symlink():
        return f"{entry.name} is a link"
    try:
        with open_file(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.bytes:
                return f"{entry.name} has {size} bytes instead of {entry.bytes}"
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except FileNotFoundError:
        return f"{entry.name} is missing"
    except (OSError, ValueError) as error:
        return f"{entry.name} cannot be read: {reason(error)}"
    same = digest.hexdigest() == entry.sha256
    return None if same else f"{entry.name} was altered: its SHA-256 is not the manifest's"

"""A folder of pairs that can be gone on with: an artifact and a row for each, under a key of what went in."""

from __future__ import annotations

import hashlib
import json
import os
import re
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from mdcompiler.artifact import Artifact, open_artifact
from mdcompiler.errors import ArtifactError, OutputError
from mdcompiler.foreign import exists, read_file
from mdcompiler.manifest import Source
from mdcompiler.matrix.calibration import calibration_digest
from mdcompiler.matrix.options import MatrixOptions
from mdcompiler.matrix.report import PairRow
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.target import Target
from mdcompiler.write_aside import write_file

_PAIRS = "pairs"
_SHOWING = ("cli/", "matrix/markdown.py", "matrix/page", "matrix/text.py", "matrix/words.py", "matrix/write.py")
"""Parts of the toolkit that only show what is known."""
_MOST_BYTES = 16 * 1024 * 1024


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    examined: str
    row: PairRow | None = None


class Store:
    """What is kept of one pair. key: of what makes its artifact; examined: of what else makes its row."""

    def __init__(self, folder: Path, name: str, key: str, examined: str) -> None:
        plain = re.sub(r"[^0-9A-Za-z._-]", "_", name)
        self.artifact_folder = folder / _PAIRS / plain
        self._file = folder / _PAIRS / f"{plain}.json"
        self._key, self._examined = key, examined

    def artifact(self) -> Artifact | None:
        """The artifact that is there and would come out the same."""
        record = self._record()
        if record is None or record.key != self._key:
            return None
        try:
            return open_artifact(self.artifact_folder)
        except ArtifactError:
            return None

    def row(self) -> PairRow | None:
        """The row that is there, of an artifact that is there, and would come out the same."""
        record = self._record()
        return record.row if record is not None and record.examined == self._examined and self.artifact() else None

    def keep(self, row: PairRow | None = None) -> None:
        """Note that the artifact is there, and its row once that is known."""
        record = _Record(key=self._key, examined=self._examined, row=row)
        write_file(self._file, (record.model_dump_json(indent=1) + "\n").encode())

    def forget(self) -> None:
        """Before the artifact is made anew."""
        self._file.unlink(missing_ok=True)

    def _record(self) -> _Record | None:
        try:
            return _Record.model_validate_json(read_file(self._file, _MOST_BYTES))
        except (OSError, ValueError):
            return None


def check_folder(folder: Path) -> None:
    """Raise OutputError when reports cannot be written to `folder`."""
    above = next(path for path in (folder, *folder.absolute().parents) if exists(path))
    if not above.is_dir() or not os.access(above, os.W_OK):
        why = "cannot be written" if above.is_dir() else "is a file"
        raise OutputError(f"writing a matrix to {folder}: {above} {why}. Give the path of a folder.")


def artifact_key(source: Source, target: Target, precision: str, options: MatrixOptions) -> str:
    """SHA-256 of everything that makes an artifact: what was read, the target, the options, the toolkit itself."""
    parts = {
        "source": source.model_dump(mode="json"),
        "target": target.model_dump(mode="json"),
        "precision": precision,
        "scheme": find_scheme(target.scheme).model_dump(mode="json") if target.scheme and precision == "int8" else {},
        "calibration": calibration_digest(options.calibration) if precision == "int8" else "",
        "allow_degraded": options.allow_degraded,
        "toolkit": _toolkit(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def _toolkit() -> str:
    """SHA-256 of the toolkit's own sources, so that a mended kernel is compiled again."""
    digest = hashlib.sha256()
    top = Path(str(files("mdcompiler")))
    for folder, folders, names in os.walk(top, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for path in (Path(folder) / name for name in sorted(names)):
            place = path.relative_to(top).as_posix()
            if not place.startswith(_SHOWING):
                digest.update(f"{place}\n".encode())
                digest.update(path.read_bytes())
    return digest.hexdigest()

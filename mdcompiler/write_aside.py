"""Results appear whole or not at all: everything is written beside its place and renamed into it.

Whatever goes wrong, an interrupt from the keyboard included, the place is as it was before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mdcompiler.errors import OutputError


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`, replacing a file there. Raises OutputError when that is not possible."""
    if path.is_dir():
        raise OutputError(f"writing {path}: that is a directory; give the path of a file.")
    with _reported(path), _parents(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            _open_to_others(Path(name), 0o666)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def write_directory(
    path: Path, files: Mapping[str, bytes], inspect: Callable[[Path], None] = lambda directory: None
) -> None:
    """Make the directory `path` with `files` in it, replacing a directory there.

    inspect: called with the finished directory before it takes its place; what it raises leaves `path` alone.
    Whether a directory at `path` may be replaced is the caller's to decide. Raises OutputError.
    """
    with _reported(path), _parents(path):
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            for name, data in files.items():
                (aside / name).write_bytes(data)
                if _is_program(name, data):
                    _open_to_others(aside / name, 0o777)
            _open_to_others(aside, 0o777)
            inspect(aside)
            _swap(aside, path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _is_program(name: str, data: bytes) -> bool:
    return data.startswith(b"\x7fELF") and not Path(name).suffix


def _swap(aside: Path, path: Path) -> None:
    """Put `aside` in the place of `path`; afterwards `aside` is what was there, if anything was."""
    if not path.exists():
        aside.rename(path)
        return
    old = aside.with_name(f"{aside.name}.old")
    path.rename(old)
    try:
        aside.rename(path)
    except BaseException:
        old.rename(path)
        raise
    old.rename(aside)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"writing {path}: {reason}. Choose a place that can be written.") from error


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """The missing directories above `path`, made for the block and taken away again when it fails."""
    missing = [folder for folder in path.absolute().parents if not folder.exists()]
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            folder.mkdir()
            made.append(folder)
        yield
    except BaseException:
        for folder in reversed(made):
            folder.rmdir()
        raise


def _open_to_others(path: Path, mode: int) -> None:
    """Temporary names are private; a result has the permissions that the user's umask leaves."""
    mask = os.umask(0)
    os.umask(mask)
    path.chmod(mode & ~mask)

"""Results appear whole or not at all: everything is written beside its place and renamed into it.

Whatever goes wrong, an interrupt from the keyboard or `kill -9` included, the place holds what was there before or what
was to be there; the next write beside it sweeps what a killed one left. Of a link, what it points to is replaced.

A file system that cannot exchange two names (NFS, FAT) has a moment in which a replaced directory has another name; the
next write to the same place puts it back.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from mdcompiler.errors import OutputError
from mdcompiler.exchange import exchange
from mdcompiler.scratch import new_file, new_folder, sweep

Check = Callable[[Path], None]


def write_file(path: Path, data: bytes, made_from: Iterable[str | Path] = ()) -> None:
    """Write `data` to `path`, replacing a plain file there. Raises OutputError when that is not possible.

    made_from: files that are never replaced, for the user may have no other copy.
    """
    refuse_sources(path, made_from)
    with _reported(path):
        place = Path(os.path.realpath(path))
        mode = _mode_of_file(path, place)
        with _parents(place):
            sweep(place.parent)
            scratch = new_file(place.parent, "file")
            try:
                _write(scratch.handle, data)
                if mode is not None:
                    os.fchmod(scratch.handle, mode)
                scratch.path.replace(place)
            finally:
                scratch.release()
            _sync_folder(place.parent)


def refuse_sources(path: Path, made_from: Iterable[str | Path]) -> None:
    """Raise OutputError when `path` is one of the files that the result is made from, whatever it is called."""
    for source in made_from:
        with suppress(OSError, ValueError):
            if Path(source).samefile(path):
                raise OutputError(
                    f"writing {path}: that would replace {source}, which it is made from. Give another path."
                )


def write_directory(path: Path, files: Mapping[str, bytes], inspect: Check, may_replace: Check) -> None:
    """Make the directory `path` with `files` in it, replacing a directory there.

    inspect: called with the finished directory before it takes its place; what it raises leaves `path` alone.
    may_replace: called with the directory that is replaced, before and after it gave way; what it raises leaves it,
    or brings it back. Raises OutputError.
    """
    with _reported(path):
        place = Path(os.path.realpath(path))
        with _parents(place):
            sweep(place.parent)
            _put_back(place)
            scratch = new_folder(place.parent, "folder", 0o777, hidden=True)
            try:
                for name, data in files.items():
                    _write_new(scratch.path / name, data)
                _sync_folder(scratch.path)
                inspect(scratch.path)
                _take_place(scratch.path, place, may_replace)
            finally:
                scratch.release()
            _sync_folder(place.parent)


def _mode_of_file(path: Path, place: Path) -> int | None:
    """The permissions of the file at `place`, None when there is none. Raises OutputError for what is no plain file."""
    try:
        mode = place.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode):
        return stat.S_IMODE(mode)
    kind = "a directory" if stat.S_ISDIR(mode) else "no plain file"
    raise OutputError(f"writing {path}: that is {kind}; give the path of a file.")


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(handle, rest) :]
    os.fsync(handle)


def _write_new(path: Path, data: bytes) -> None:
    mode = 0o777 if data.startswith(b"\x7fELF") and not path.suffix else 0o666
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        _write(handle, data)
    finally:
        os.close(handle)


def _sync_folder(path: Path) -> None:
    """Names reach the disk with their folder; file systems without that are served as well as they can be."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _take_place(aside: Path, place: Path, may_replace: Check) -> None:
    """Put `aside` in the place of `place`; afterwards `aside` is what was there, if anything was."""
    if not place.exists():
        aside.rename(place)
        return
    may_replace(place)
    aside.chmod(stat.S_IMODE(place.stat().st_mode))
    _exchange(aside, place)
    try:
        may_replace(aside)
    except BaseException:
        _exchange(aside, place)
        raise


def _exchange(aside: Path, place: Path) -> None:
    if exchange(aside, place):
        return
    old = _old_name(place)
    place.rename(old)
    try:
        aside.rename(place)
    except BaseException:
        old.rename(place)
        raise
    old.rename(aside)


def _old_name(place: Path) -> Path:
    """What a directory is called for the moment in which its successor takes its place."""
    return place.with_name(f".mdcompiler-old-{hashlib.sha256(os.fsencode(place.name)).hexdigest()[:16]}")


def _put_back(place: Path) -> None:
    """Finish what a process did not that was killed in `_exchange`."""
    old = _old_name(place)
    if not old.is_dir():
        return
    if place.exists():
        shutil.rmtree(old)
    else:
        old.rename(place)


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        said = (error.strerror if isinstance(error, OSError) else "") or str(error)
        busy = isinstance(error, OSError) and error.errno == errno.EBUSY
        advice = "Give a folder inside it" if busy else "Choose a place that can be written"
        raise OutputError(f"writing {path}: {said}. {advice}.") from error


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """The missing directories above `path`, made for the block and taken away again when it fails."""
    missing = [folder for folder in path.parents if not folder.exists()]
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            made.append(folder)
        yield
    except BaseException:
        for folder in reversed(made):
            with suppress(OSError):  # somebody else uses it by now
                folder.rmdir()
        raise

"""Temporary files and folders that outlive nobody who is gone.

Each has a name that only this module gives, and an exclusive lock as long as its owner lives; the system drops the lock
of a process that is killed. So whoever sweeps a folder takes what he can lock, and never what a living sibling uses,
be it in another container or on another machine that shares the disk.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = re.compile(r"\.?mdcompiler-[a-z]+-[0-9a-f]{16}\.tmp")
_ATTEMPTS = 100


class Scratch:
    """A locked temporary file or folder. Release it, or let it be collected; a fork's child leaves it to its parent."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self.handle = path, handle
        self._finalizer = weakref.finalize(self, _release, path, handle, os.getpid())

    def release(self) -> None:
        """Remove it, if it is still there, and let the lock go."""
        self._finalizer()


def new_folder(where: Path, what: str, mode: int = 0o700, hidden: bool = False) -> Scratch:
    """An empty folder in `where`. what: for the reader of its name, a lower-case word. Raises OSError."""

    def make(path: Path) -> int | None:
        path.mkdir(mode)
        with suppress(FileNotFoundError):  # swept already
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        return None

    return _claimed(where, what, make, hidden)


def new_file(where: Path, what: str, mode: int = 0o666) -> Scratch:
    """An empty file in `where`, whose `handle` may be written to. mode: what the umask leaves of it. Raises OSError."""

    def make(path: Path) -> int | None:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)

    return _claimed(where, what, make, hidden=True)


def scratch_folder_of(what: str) -> Scratch:
    """A private folder where the system keeps temporary ones, as long as the result lives."""
    where = Path(tempfile.gettempdir())
    sweep(where)
    return new_folder(where, what)


@contextmanager
def scratch_folder(what: str) -> Iterator[Path]:
    """The same for the block."""
    scratch = scratch_folder_of(what)
    try:
        yield scratch.path
    finally:
        scratch.release()


def tools_environment(folder: Path) -> dict[str, str]:
    """For programs that are started: what they leave when they are killed lies in `folder`, and goes with it."""
    return {**os.environ, "TMPDIR": str(folder)}


def sweep(folder: Path) -> None:
    """Take away what killed processes of this user left in `folder`; what cannot be taken away stays."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_unowned(Path(entry.path))


def _remove_unowned(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        if os.fstat(handle).st_uid == os.geteuid() and _locked(path, handle):
            _remove(path)
    finally:
        os.close(handle)


def _claimed(where: Path, what: str, make: Callable[[Path], int | None], hidden: bool) -> Scratch:
    for _ in range(_ATTEMPTS):
        path = where / f"{'.' if hidden else ''}mdcompiler-{what}-{secrets.token_hex(8)}.tmp"
        handle = make(path)
        if handle is None:
            continue
        if _locked(path, handle, where_locks_are_missing=True):
            return Scratch(path, handle)
        os.close(handle)  # swept between its making and its lock
    raise FileExistsError(errno.EEXIST, f"each of {_ATTEMPTS} temporary names was taken away", str(where))


def _locked(path: Path, handle: int, where_locks_are_missing: bool = False) -> bool:
    """Whether `handle` has the lock of what is at `path` now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return where_locks_are_missing
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.lstat())
    return False


def _release(path: Path, handle: int, owner: int) -> None:
    if os.getpid() == owner:
        _remove(path)
    os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

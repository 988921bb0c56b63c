"""A shared library loaded from bytes, never from a name.

The system's loader takes a file for one that it has when the name or the inode is the same, so a library compiled again
into its old place would be the old one, with other buffers than the new manifest states. Bytes in memory of their own
have a name and an inode that nothing else has, and nobody can change them between the hash and the use.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
from _ctypes import dlclose
from collections.abc import Callable
from contextlib import suppress

from mdcompiler.scratch import Scratch, scratch_folder_of


class LoadedLibrary:
    """`functions` of a library until `close`, which unloads it: nothing of it may be called or read afterwards."""

    def __init__(self, functions: ctypes.CDLL, path: str, let_go: Callable[[], None]) -> None:
        self.functions, self._path, self._let_go = functions, path, let_go

    def close(self) -> None:
        """Unload it. A library that the system keeps keeps its name too, for the name must not come again."""
        dlclose(self.functions._handle)
        with suppress(OSError):
            ctypes.CDLL(self._path, os.RTLD_NOLOAD | os.RTLD_LAZY)
            return
        self._let_go()


def load_library(content: bytes, name: str) -> LoadedLibrary:
    """`content` as a library. name: for debuggers and profilers. Raises OSError with the loader's words."""
    try:
        return _from_memory(content, name)
    except (OSError, AttributeError) as error:  # no such memory, no /proc, or a rule that nothing runs from there
        try:
            return _from_file(content)
        except OSError:
            raise error from None


def _from_memory(content: bytes, name: str) -> LoadedLibrary:
    handle = os.memfd_create(name[:64], os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        _write(handle, content)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(handle, fcntl.F_ADD_SEALS, seals)
        path = f"/proc/self/fd/{handle}"
        return LoadedLibrary(ctypes.CDLL(path), path, lambda: os.close(handle))
    except BaseException:
        os.close(handle)
        raise


def _from_file(content: bytes) -> LoadedLibrary:
    scratch: Scratch = scratch_folder_of("library")
    path = scratch.path / f"{scratch.path.name}.so"
    path.write_bytes(content)
    return LoadedLibrary(ctypes.CDLL(str(path)), str(path), scratch.release)


def _write(handle: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]

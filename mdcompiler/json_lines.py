"""Files of JSON lines that are appended to: a process that is killed leaves half a last line, and no more.

Readers pass over such a half, and the next append takes its place. Only what begins as a line of the same kind is
cut off: in a file of another kind nothing is lost.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path

_CHUNK_BYTES = 1 << 16


def append_line(path: Path, line: bytes, is_whole: Callable[[bytes], bool]) -> None:
    """Add `line`, which has no end, in one write, and wait until it is on the disk.

    is_whole: whether a last line without its end is complete but for that.
    Raises OSError, and ValueError when the file's last line is half of something else.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is no plain file")
        fcntl.flock(handle, fcntl.LOCK_EX)
        data = _mend_end(handle, is_whole) + line + b"\n"
        if os.write(handle, data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    finally:
        os.close(handle)


def may_be_cut_off(line: bytes) -> bool:
    """Whether `line`, the last of a file, is what a killed process leaves: the first part of a JSON object."""
    return line.startswith(b"{")


def _mend_end(handle: int, is_whole: Callable[[bytes], bool]) -> bytes:
    """Cut off half a line at the end of the file; what must come before the next one."""
    last = _last_line(handle)
    if not last:
        return b""
    if is_whole(last):
        return b"\n"
    if not may_be_cut_off(last):
        raise ValueError(f"its last line, {last[:40]!r}, is half of something else")
    os.ftruncate(handle, os.fstat(handle).st_size - len(last))
    return b""


def _last_line(handle: int) -> bytes:
    """What follows the last line's end."""
    place, tail = os.fstat(handle).st_size, b""
    while place and b"\n" not in tail:
        start = max(0, place - _CHUNK_BYTES)
        tail = os.pread(handle, place - start, start) + tail
        place = start
    return tail[tail.rfind(b"\n") + 1 :]

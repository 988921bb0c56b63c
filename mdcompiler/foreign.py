"""The one guard between what comes from outside and the toolkit.

A parser meets bytes that nobody vouches for with any exception there is: `zlib.error`, `RecursionError`,
`tokenize.TokenError`, `MemoryError`, a panic of a library written in Rust. A list of them is never complete, so
whatever leaves a block is the file's fault, and told in one sentence:

    with refusing(f"reading ranges from {path}", InputError, "Calibrate again."):
        data = parse(read_file(path, limit))

Errors of the toolkit's own pass through. Keep the block to the parsing: a fault of ours in it would be blamed on
the file. Faults that the reader itself finds are a `ValueError` with the reason, or a whole `MdcError`.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mdcompiler.errors import InternalError, MdcError

if TYPE_CHECKING:
    from pydantic import ValidationError

_MOST_FAULTS = 5
_MOST_CHARACTERS = 300
_OURS = (MdcError, InternalError, KeyboardInterrupt, SystemExit, GeneratorExit)
_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


@contextmanager
def refusing(doing: str, error: type[MdcError], advice: str) -> Iterator[None]:
    """Turn whatever a parser raises into `error`: "{doing}: {reason}. {advice}".

    doing: what was being done, and where. advice: what to do, a sentence.
    """
    try:
        yield
    except _OURS:
        raise
    except BaseException as fault:  # a panic in Rust is no Exception
        raise error(f"{doing}: {reason(fault)}. {advice}") from fault


def reason(fault: BaseException) -> str:
    """Why foreign data cannot be used, in one bounded line without a full stop."""
    from pydantic import ValidationError  # the command line imports this module, and is to start quickly

    if isinstance(fault, ValidationError):
        return field_faults(fault)
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    if isinstance(fault, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(fault, RecursionError):
        return "it is nested too deeply"
    if isinstance(fault, UnicodeDecodeError):
        return f"it is no {fault.encoding.upper()} text: byte {fault.object[fault.start]:#04x} at {fault.start}"
    if isinstance(fault, UnicodeEncodeError):
        return f"it holds {fault.object[fault.start]!a}, half a character"
    if isinstance(fault, KeyError):
        return f"it has no {shortened(str(fault))}"
    said = shortened(str(fault).strip().partition("\n")[0]).rstrip(". ")
    return said if isinstance(fault, ValueError) and said else f"it is damaged ({said or type(fault).__name__})"


def field_faults(error: ValidationError) -> str:
    """The first faults that pydantic found, each with its field: "vector_bytes: Input should be …"."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    shown, more = found[:_MOST_FAULTS], len(found) - _MOST_FAULTS
    told = [f"{shortened('.'.join(map(str, item['loc'])), 80) or 'all'}: {item['msg']}" for item in shown]
    if more > 0:
        told.append(f"and {more} more")
    return shortened("; ".join(told), _MOST_FAULTS * _MOST_CHARACTERS)


def shortened(text: str, characters: int = _MOST_CHARACTERS) -> str:
    """Foreign text as a message can show it: one line, cut where it is long."""
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text[: characters + 1])
    return line if len(line) <= characters else f"{line[: characters - 1]}…"


def open_file(path: str | Path) -> BinaryIO:
    """The plain file at `path`, open to read: never a pipe or a device, which may wait or flow for ever.

    Raises OSError, and ValueError for what is no plain file.
    """
    if "\0" in str(path):
        raise ValueError("the path holds a NUL character")
    mode = Path(path).stat().st_mode  # before it is opened: to open some devices does something
    if not stat.S_ISREG(mode):
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        kind = next((name for test, name in _KINDS if test(mode)), "no file")
        raise ValueError(f"it is {kind}, and a plain file is wanted")
    # should it have become a pipe by now, a blocking open would wait for a writer
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")


def read_file(path: str | Path, limit_bytes: int) -> bytes:
    """The bytes of a plain file. Raises OSError, and ValueError for another kind or more than `limit_bytes`."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit_bytes:
            raise ValueError(f"it has {size} bytes, and at most {limit_bytes} are read")
        # a larger number would be allocated at once, whatever the file holds
        return file.read(size)


def is_file(path: str | Path) -> bool:
    """Whether `path` is a plain file; False for a name that no file can have, where pathlib raises."""
    return os.path.isfile(path)  # noqa: PTH113 - it answers for names that are too long


def is_folder(path: str | Path) -> bool:
    """Whether `path` is a directory; False for a name that none can have, where pathlib raises."""
    return os.path.isdir(path)  # noqa: PTH112 - as above


def exists(path: str | Path) -> bool:
    """Whether there is anything at `path`; False for a name that nothing can have, where pathlib raises."""
    return os.path.exists(path)  # noqa: PTH110 - as above

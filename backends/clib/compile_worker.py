"""The child process of `build_objects`: reads kernel sources from stdin, answers with object files.

A message is its length in eight bytes and its content. Answers start with `+` (an object file) or `-`
(a reason). The sources come pickled from the parent that started this process, and from nobody else.
"""

from __future__ import annotations

import os
import pickle
import struct
import sys
from collections.abc import Callable
from typing import IO

_LENGTH = struct.Struct("<Q")


def write_message(stream: IO[bytes], content: bytes) -> None:
    """Send one message."""
    stream.write(_LENGTH.pack(len(content)) + content)
    stream.flush()


def read_message(stream: IO[bytes]) -> bytes:
    """The next message. Raises EOFError when there is none."""
    size = stream.read(_LENGTH.size)
    if len(size) < _LENGTH.size:
        raise EOFError
    return stream.read(_LENGTH.unpack(size)[0])


def serve(answer: Callable[[bytes], bytes]) -> None:
    """Answer messages until the parent closes the pipe; whatever a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            message = read_message(sys.stdin.buffer)
        except EOFError:
            return
        write_message(answers, answer(message))


def _answer(message: bytes) -> bytes:
    from mdcompiler.backends.kernels.object_file import compile_object

    source, llvm = pickle.loads(message)  # noqa: S301 - written by our own parent, see above
    try:
        return b"+" + compile_object({source.symbol: source.write()}, llvm)
    except Exception as error:
        return b"-" + repr(error).encode()


if __name__ == "__main__":
    serve(_answer)

"""The child process that builds the functions of candidates: TIR to machine code, which may abort.

Started with the argument `plain` it answers with an object file of a plain C function, with `packed` with a shared
library whose function has TVM's calling convention, for measuring over RPC.
"""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from mdcompiler.backends.clib.compile_worker import serve
from mdcompiler.scratch import scratch_folder

HEADER = struct.Struct("<I")


def _answer(message: bytes, packed: bool) -> bytes:
    source, llvm, triple = pickle.loads(message)  # noqa: S301 - written by our own parent
    try:
        function = source.write()
        functions = {source.symbol: function}
        code = _library(functions, llvm, triple) if packed else _object(functions, llvm)
        described = json.dumps(_buffers(function)).encode()
        return b"+" + HEADER.pack(len(described)) + described + code
    except Exception as error:
        return b"-" + f"{type(error).__name__}: {error}".encode()


def _object(functions: dict[str, Any], llvm: dict[str, Any]) -> bytes:
    from mdcompiler.backends.kernels.object_file import compile_object

    return compile_object(functions, llvm)


def _library(functions: dict[str, Any], llvm: dict[str, Any], triple: str) -> bytes:
    """A shared library that TVM's runtime loads, linked for the device."""
    import tvm

    from mdcompiler.backends.clib.link import compiler_command

    def link(output: str, objects: Sequence[str], options: Any = None, **_: Any) -> None:
        command = [*compiler_command(triple), "-shared", "-fPIC", "-o", output, *objects, *(options or ())]
        subprocess.run(command, check=True, capture_output=True)

    executable = tvm.compile(tvm.IRModule(functions), target=tvm.target.Target(dict(llvm)))
    with scratch_folder("packed") as folder:
        path = folder / "candidate.so"
        executable.export_library(str(path), fcompile=link)
        return path.read_bytes()


def _buffers(function: Any) -> list[tuple[str, str, int]]:
    """Name, dtype and elements of every pointer parameter, in order."""
    pointers = function.params[:-2]  # begin and end come last
    return [(pointer.name, str(pointer.dtype), int(pointer.ty.shape[0])) for pointer in pointers]


if __name__ == "__main__":
    serve(lambda message: _answer(message, sys.argv[1] == "packed"))

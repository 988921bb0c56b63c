"""From generated C and object files to a shared library.

The compiler is the system's `cc` when the target is this kind of machine, else (or when there is none)
the `ziglang` wheel, a complete C cross-toolchain from PyPI.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from mdcompiler.backends.clib import android
from mdcompiler.backends.clib.object_cache import ObjectCache
from mdcompiler.errors import InternalError, MissingToolError
from mdcompiler.scratch import scratch_folder, tools_environment

_SECONDS = 600
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")
_OUTPUT = ("-s", "-o", "out")
_LIBRARIES = ("-lm", "-lpthread")
_RUNTIME = ("mdc_runtime.c", "postprocess.c")
_PROGRAM = ("mdc_run.c",)
_HEADERS = ("mdc_runtime.h", "postprocess.h", "mdc_run.h")


def compiler_command(triple: str = "") -> list[str]:
    """The C compiler to call for a zig target triple, "" being this machine.

    Raises MissingToolError with the command to install one. `MDC_CC` overrides the choice for this machine.
    """
    chosen = os.environ.get("MDC_CC", "")
    if not triple and chosen:
        return chosen.split()
    system = shutil.which("cc")
    if not triple and system:
        return [system]
    if find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc", *(("-target", triple) if triple else ())]
    raise MissingToolError(
        "linking the model needs a C compiler and none was found: neither `cc` on PATH nor the package ziglang. "
        "Run `pip install ziglang`."
    )


def link_library(
    sources: Mapping[str, bytes], objects: Sequence[bytes], triple: str = "", libraries: Sequence[str] = ()
) -> bytes:
    """Compile `sources` (file name -> content) with the runtime, link `objects`, and return the shared library.

    libraries: further options of the linker, e.g. `-ldl`. Raises InternalError with the compiler's words when it
    refuses the generated code.
    """
    flags = [*_FLAGS, "-fPIC", "-fvisibility=hidden"]
    content = _everything(sources, objects, _RUNTIME)
    if triple.endswith(android.SUFFIX):
        compiler = compiler_command(android.headers_triple(triple))
        commands = android.android_commands(compiler, flags, _parts(content))
        return _link(commands, {**content, android.EMPTY: b""})
    command = [*compiler_command(triple), *flags, "-shared", *_OUTPUT, *_parts(content), *_LIBRARIES, *libraries]
    return _link([command], content)


def link_program(sources: Mapping[str, bytes], objects: Sequence[bytes], triple: str) -> bytes:
    """The same with `runtime/mdc_run.c` and a `main` among `sources`, as a static executable for a musl `triple`."""
    content = _everything(sources, objects, (*_RUNTIME, *_PROGRAM))
    command = [*compiler_command(triple), *_FLAGS, "-static", *_OUTPUT, *_parts(content), *_LIBRARIES]
    return _link([command], content)


def link_small_program(sources: Mapping[str, bytes], name: str, library: bytes, triple: str) -> bytes:
    """A program of `sources` and the runtime's `mdc_run.c` that loads the shared library `name` from its own folder.

    For models that no static program can hold, because they open further libraries as they run.
    """
    content = {**_everything(sources, [], (*_RUNTIME, *_PROGRAM)), name: library}
    parts = [*_parts(content), name, "-Wl,-rpath,$ORIGIN"]
    return _link([[*compiler_command(triple), *_FLAGS, *_OUTPUT, *parts, *_LIBRARIES]], content)


def _everything(sources: Mapping[str, bytes], objects: Sequence[bytes], runtime: Sequence[str]) -> dict[str, bytes]:
    """All files of one link by name."""
    wanted = (*runtime, *_HEADERS)
    known = {name: content for name, content in runtime_files().items() if name in wanted}
    return {**sources, **known, **{f"kernel_{index}.o": content for index, content in enumerate(objects)}}


def _parts(content: Mapping[str, bytes]) -> list[str]:
    """What the compiler is given: C files and objects."""
    return [name for name in content if name.endswith((".c", ".o"))]


def _link(commands: Sequence[list[str]], content: Mapping[str, bytes]) -> bytes:
    """Run `commands` in a folder with these files; the content of the file `out` that the last one writes.

    What was linked before from the same bytes comes from the cache.
    """
    cache, key = ObjectCache.default(), _key(commands, content)
    found = cache.get(key)
    if found is None:
        found = _link_anew(commands, content)
        cache.put(key, found)
    return found


def _key(commands: Sequence[list[str]], content: Mapping[str, bytes]) -> str:
    """A hash of all files, the commands and the compilers that they name."""
    digest = hashlib.sha256()
    for command in commands:
        compiler = Path(shutil.which(command[0]) or command[0]).resolve()
        stamp = compiler.stat().st_mtime_ns if compiler.exists() else 0
        digest.update(json.dumps([*command, str(compiler), stamp]).encode())
    for name in sorted(content):
        digest.update(name.encode() + hashlib.sha256(content[name]).digest())
    return digest.hexdigest()


def _link_anew(commands: Sequence[list[str]], content: Mapping[str, bytes]) -> bytes:
    with scratch_folder("link") as folder:
        for file_name, data in content.items():
            (folder / file_name).write_bytes(data)
        for command in commands:
            _run(command, folder)
        return (folder / "out").read_bytes()


def runtime_files() -> dict[str, bytes]:
    """The C files that models are built with."""
    folder = files("mdcompiler.backends.clib") / "runtime"
    return {name: (folder / name).read_bytes() for name in (*_RUNTIME, *_PROGRAM, *_HEADERS)}


def _run(command: list[str], folder: Path) -> None:
    environment = tools_environment(folder)
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except OSError as error:
        raise MissingToolError(f"the C compiler {command[0]} cannot be started: {error}. Set MDC_CC to one.") from error
    if done.returncode:
        raise InternalError(f"the C compiler refused the generated code: {done.stderr.strip()[-2000:]}")

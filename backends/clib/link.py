"""From generated C and object files to a shared library.

The compiler is the system's `cc` when the target is this kind of machine, else (or when there is none)
the `ziglang` wheel, a complete C cross-toolchain from PyPI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from mdcompiler.errors import InternalError, MissingToolError

_SECONDS = 600
_FLAGS = ("-std=c11", "-O2", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra")
_RUNTIME = ("mdc_runtime.c", "postprocess.c")
_HEADERS = ("mdc_runtime.h", "postprocess.h")


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


def link_library(sources: Mapping[str, bytes], objects: Sequence[bytes], triple: str = "") -> bytes:
    """Compile `sources` (file name -> content) with the runtime, link `objects`, and return the library.

    Raises InternalError with the compiler's words when it refuses the generated code.
    """
    command = compiler_command(triple)
    with tempfile.TemporaryDirectory(prefix="mdc-link-") as name:
        folder = Path(name)
        for file_name, content in {**sources, **runtime_files()}.items():
            (folder / file_name).write_bytes(content)
        for index, content in enumerate(objects):
            (folder / f"kernel_{index}.o").write_bytes(content)
        c_files = [*(item for item in sources if item.endswith(".c")), *_RUNTIME]
        arguments = [*_FLAGS, "-shared", "-s", "-o", "out.so", *c_files]
        arguments += [f"kernel_{index}.o" for index in range(len(objects))]
        _run([*command, *arguments, "-lm", "-lpthread"], folder)
        return (folder / "out.so").read_bytes()


def runtime_files() -> dict[str, bytes]:
    """The C files that every model is built with."""
    folder = files("mdcompiler.backends.clib") / "runtime"
    return {name: (folder / name).read_bytes() for name in (*_RUNTIME, *_HEADERS)}


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except OSError as error:
        raise MissingToolError(f"the C compiler {command[0]} cannot be started: {error}. Set MDC_CC to one.") from error
    if done.returncode:
        raise InternalError(f"the C compiler refused the generated code: {done.stderr.strip()[-2000:]}")

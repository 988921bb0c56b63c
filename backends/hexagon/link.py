"""From generated C and object files to a program that QEMU runs and an archive for the vendor's SDK.

The compiler is always the ziglang wheel: it brings clang for Hexagon, a linker and the musl C library, whose first
build takes about a minute and is kept in zig's cache. C is compiled for V66, whose code every later processor runs;
only kernels are compiled for the target itself.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mdcompiler.backends.clib.link import runtime_files
from mdcompiler.errors import InternalError, MissingToolError
from mdcompiler.scratch import scratch_folder, tools_environment
from mdcompiler.target import Target

_SECONDS = 600
_PROCESSOR = "hexagonv66"
_FLAGS = (f"-mcpu={_PROCESSOR}", "-std=gnu11", "-O2", "-g0", "-Wall", "-Wextra")
_SDK_SOURCES = ("mdc_runtime.c", "mdc_runtime.h")
_COUNT_CLOCK = "count_clock.c"


@dataclass(frozen=True)
class HexagonFiles:
    """A network as C. prefix: of the C functions and files; sources: the generated files; objects: the kernels."""

    prefix: str
    sources: Mapping[str, bytes]
    objects: Sequence[bytes]
    target: Target

    @property
    def everything(self) -> dict[str, bytes]:
        """All files of a link by name."""
        folder = files("mdcompiler.backends.hexagon") / "runtime"
        clock = {_COUNT_CLOCK: (folder / _COUNT_CLOCK).read_bytes()}
        return {**self.sources, **runtime_files(), **clock, **self.kernels}

    @property
    def kernels(self) -> dict[str, bytes]:
        """Object files of the kernels by name."""
        return {f"kernel_{index}.o": code for index, code in enumerate(self.objects)}


def link_program(model: HexagonFiles, main: bytes) -> bytes:
    """A static program for Linux on Hexagon, which user-mode emulation runs; `main` is the generated C around it."""
    return link_files({**model.everything, "main.c": main}, model.target)


def link_files(content: Mapping[str, bytes], target: Target) -> bytes:
    """A static program of all C files and objects in `content`, by name."""
    names = [name for name in content if name.endswith((".c", ".o"))]
    command = ["cc", "-target", target.zig, *_FLAGS, "-static", "-s", "-o", "out", *names, "-lm", "-lpthread"]
    return _run([command], content)["out"]


def link_archive(model: HexagonFiles) -> dict[str, bytes]:
    """What a program of the vendor's SDK links: `lib{prefix}.a`, its header, and the runtime for its own compiler.

    The objects are position-independent, because FastRPC loads shared objects.
    """
    sources = [f"{model.prefix}.c", "postprocess.c"]
    compiled = [name.replace(".c", ".o") for name in sources]
    commands = [
        ["cc", "-target", model.target.zig, *_FLAGS, "-G0", "-fPIC", "-c", "-o", made, name]
        for name, made in zip(sources, compiled, strict=True)
    ]
    library = f"lib{model.prefix}.a"
    made = _run([*commands, ["ar", "rcsD", library, *compiled, *model.kernels]], model.everything)
    header = f"{model.prefix}.h"
    runtime = {name: model.everything[name] for name in _SDK_SOURCES}
    return {library: made[library], header: model.sources[header], **runtime}


def _run(commands: Sequence[Sequence[str]], content: Mapping[str, bytes]) -> dict[str, bytes]:
    """Run commands of zig in a folder with these files; all files that are new there."""
    with scratch_folder("hexagon") as folder:
        for file_name, data in content.items():
            (folder / file_name).write_bytes(data)
        for command in commands:
            _start(command, folder)
        return {item.name: item.read_bytes() for item in folder.iterdir() if item.name not in content}


def _start(command: Sequence[str], folder: Path) -> None:
    if find_spec("ziglang") is None:
        raise MissingToolError("linking for Hexagon needs the package ziglang. Run `pip install ziglang`.")
    whole = [sys.executable, "-m", "ziglang", *command]
    options: dict[str, Any] = {"cwd": folder, "env": tools_environment(folder), "timeout": _SECONDS}
    done = subprocess.run(whole, **options, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InternalError(f"zig {command[0]} refused the generated code: {done.stderr.strip()[-2000:]}")

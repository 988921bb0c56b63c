"""A C compiler for tests: the system's, else the one in the ziglang wheel."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

RUNTIME = Path(__file__).parents[1] / "backends" / "clib" / "runtime"
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O2", "-fPIC", "-shared")


def compilers() -> list[list[str]]:
    """Commands of the compilers that are here; never empty where the package's dependencies are installed."""
    system = shutil.which("cc")
    zig = [sys.executable, "-m", "ziglang", "cc"]
    return [[system], zig] if system else [zig]


def shared_library(sources: list[Path], out: Path, compiler: list[str] | None = None) -> Path:
    """Compile `sources` to the shared library `out` without a single warning."""
    command = [*(compiler or compilers()[0]), *STRICT, *map(str, sources), "-o", str(out), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out

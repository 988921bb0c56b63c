"""gcc's sanitizers for C of the project: compile with them, run, and read what they say."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FLAGS = {
    "address": ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
    "thread": ("-fsanitize=thread",),
}
"""Of the compiler, by what is looked for."""
FOUND = 99
"""Exit status of a program whose sanitizer found something."""
NO_LEAKS = "LeakSanitizer has encountered a fatal error"
"""Said where the system lets no process look at another's memory."""
_NO_ROOM = "unexpected memory mapping"
"""Said by ThreadSanitizer where the system places memory more at random than it knows."""
_COMMON = ("-std=c11", "-O1", "-g", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror")
_ASAN = f"detect_stack_use_after_return=1:strict_string_checks=1:exitcode={FOUND}"
_OPTIONS = {
    "ASAN_OPTIONS": _ASAN,
    "TSAN_OPTIONS": f"halt_on_error=1:exitcode={FOUND}",
    "UBSAN_OPTIONS": f"print_stacktrace=1:exitcode={FOUND}",
}


def compile_sanitized(sources: Sequence[Path], out: Path, sanitizer: str, *options: str) -> Path:
    """A program of C files and objects, or with the option `-c` an object; the folder of `out` is the current one."""
    libraries = [] if "-c" in options else ["-lm", "-lpthread", "-ldl"]
    command = ["cc", *_COMMON, *FLAGS[sanitizer], *options, *map(str, sources), "-o", str(out), *libraries]
    done = subprocess.run(command, cwd=out.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def run_sanitized(command: Sequence[object], **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, at most two minutes; what the system denies a sanitizer is done without."""
    words = [str(word) for word in command]
    done = _run(words, variables)
    if _NO_ROOM in done.stderr:
        return _run(["setarch", "-R", *words], variables)
    if NO_LEAKS in done.stderr:
        return _run(words, {"ASAN_OPTIONS": f"{_ASAN}:detect_leaks=0", **variables})
    return done


def why_missing(sanitizer: str, folder: Path) -> str:
    """Why a sanitizer cannot be used here, as a sentence; "" when it can. folder: an empty one."""
    if not sys.platform.startswith("linux") or platform.machine() != "x86_64":
        return "gcc's sanitizers are used on Linux and x86-64"
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    try:
        compile_sanitized([source], folder / "probe", sanitizer)
    except (OSError, AssertionError) as error:
        return f"cc has no {sanitizer} sanitizer (Debian's gcc brings it): {error}"
    done = run_sanitized([folder / "probe"])
    return f"the {sanitizer} sanitizer does not start here: {done.stderr}" if done.returncode else ""


def _run(words: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env={**os.environ, **_OPTIONS, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )

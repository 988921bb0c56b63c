"""Linking for Android without its development kit.

The library calls a dozen functions of POSIX and C11, which Android's libc and libm export under their usual
names. It is compiled against the headers of musl, whose types have the same size and layout on 64-bit Arm
wherever the runtime uses them, and linked against two empty libraries that only carry the names of Android's.
Pages of 16 KiB and the platform register x18 are respected (Android NDK, "Support 16 KB page sizes";
AArch64 ABI of Android).
"""

from __future__ import annotations

from collections.abc import Sequence

SUFFIX = "-android"
EMPTY = "empty.c"
"""A source without content that the commands need beside the others."""
_LIBRARIES = ("libc.so", "libm.so")
_LINK = ("-nostdlib", "-shared", "-s", "-Wl,--no-as-needed", "-Wl,-z,max-page-size=16384")


def headers_triple(triple: str) -> str:
    """The zig target whose headers serve the Android target `triple`."""
    return triple.removesuffix(SUFFIX) + "-musl"


def android_commands(compiler: Sequence[str], flags: Sequence[str], parts: Sequence[str]) -> list[list[str]]:
    """The commands that turn C files and objects `parts` into the shared library `out`, in order.

    compiler: the command for `headers_triple`. flags: of compiling C.
    """
    c_files = [part for part in parts if part.endswith(".c")]
    objects = [part.removesuffix(".c") + ".o" if part.endswith(".c") else part for part in parts]
    stubs = [[*compiler, "-nostdlib", "-shared", f"-Wl,-soname,{name}", "-o", name, EMPTY] for name in _LIBRARIES]
    compiled = [[*compiler, *flags, "-ffixed-x18", "-c", name] for name in c_files]
    linked = [*compiler, *_LINK, "-o", "out", *objects, *(f"./{name}" for name in _LIBRARIES)]
    return [*compiled, *stubs, linked]

"""Which machine runs what was compiled: this one, or QEMU's user-mode emulation of a processor like it."""

from __future__ import annotations

import platform
import shutil

from mdcompiler.errors import MissingToolError
from mdcompiler.target import Target, missing_flags

_EMULATORS = ("qemu-aarch64", "qemu-aarch64-static")
_INSTALL = "apt-get install qemu-user"
PROGRAM_TRIPLE = "aarch64-linux-musl"
"""zig's name of what static programs are linked for: they run on every 64-bit Arm Linux, and in QEMU."""
_MODELS = (("i8mm", "max"), ("asimddp", "cortex-a76"), ("asimd", "cortex-a53"))
"""Flag -> the oldest processor QEMU 7.2 emulates that has it, so that newer instructions are noticed."""


def is_native(target: Target) -> bool:
    """Whether this processor runs code for `target`."""
    return platform.machine() in ("aarch64", "arm64") and not missing_flags(target)


def why_not_run(target: Target) -> str:
    """Why code for `target` cannot run here, not even emulated, and what to install; "" when it can."""
    if is_native(target) or _emulator():
        return ""
    return (
        f"this machine cannot run code for {target.name}: it is no such processor and has no {_EMULATORS[0]}. "
        f"Run `{_INSTALL}`, or copy the artifact to the device."
    )


def launcher(target: Target) -> list[str]:
    """What to put before the path of a program for `target`: the emulator, or nothing on a processor like it."""
    return [] if is_native(target) else emulator_command(target)


def emulator_command(target: Target) -> list[str]:
    """The emulator with a processor for `target`. Raises MissingToolError with the command that installs it."""
    emulator = _emulator()
    if not emulator:
        raise MissingToolError(
            f"running code for {target.name}: no {_EMULATORS[0]} on PATH. Run `{_INSTALL}`, or copy the artifact to "
            "the device."
        )
    return [emulator, "-cpu", emulated_processor(target)]


def emulated_processor(target: Target) -> str:
    """QEMU's name of the processor that has what `target` needs, and as little more as possible."""
    return next((model for flag, model in _MODELS if flag in target.cpu_flags), _MODELS[-1][1])


def _emulator() -> str:
    return next((path for name in _EMULATORS if (path := shutil.which(name))), "")

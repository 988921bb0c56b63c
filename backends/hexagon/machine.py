"""QEMU's user-mode emulation of Hexagon: what runs a compiled network here."""

from __future__ import annotations

import shutil

from mdcompiler.errors import MissingToolError

_EMULATORS = ("qemu-hexagon", "qemu-hexagon-static")
_INSTALL = "apt-get install qemu-user"
_PROCESSOR = "v67"
"""The only processor that QEMU knows before version 9; it runs code for V66, and what V68 adds is not used here."""


def why_not_run() -> str:
    """Why compiled networks cannot run here, and what to install; "" when they can."""
    if _emulator():
        return ""
    return (
        f"this machine cannot run Hexagon code: it has no {_EMULATORS[0]}. Run `{_INSTALL}`, or link the artifact's "
        "libmodel.a into a program of the vendor's SDK."
    )


def launcher() -> list[str]:
    """What to put before the path of a program. Raises MissingToolError with the command that installs it."""
    emulator = _emulator()
    if not emulator:
        raise MissingToolError(why_not_run())
    return [emulator, "-cpu", _PROCESSOR]


def _emulator() -> str:
    return next((path for name in _EMULATORS if (path := shutil.which(name))), "")

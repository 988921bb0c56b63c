"""The passes that come with the toolkit, in the order in which they run.

Each line says why the pass stands where it does. A plug-in's pass runs at the end of the stage it names,
before the backend's own passes of that stage.
"""

from __future__ import annotations

from mdcompiler.compile_pass import Pass


def builtin_passes() -> tuple[Pass, ...]:
    """One of each, with default options, in order."""
    return ()

"""What a pass is.

A pass is a frozen dataclass: its fields are its options, its `name` is its command-line name. It edits
the module's graph in place and says how many edits it made; a second run must make none.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol, runtime_checkable

from mdcompiler.module import Module

Stage = Literal["read", "simplify", "fuse", "quantize", "place", "emit"]
STAGES: tuple[Stage, ...] = ("read", "simplify", "fuse", "quantize", "place", "emit")


@runtime_checkable
class Pass(Protocol):
    """One transformation.

    name: kebab-case; stage: where it runs; after: names of passes that must have been in the pipeline
    before this one.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]
    after: ClassVar[tuple[str, ...]]

    def run(self, module: Module) -> int:
        """Transform `module.graph` in place; the number of edits, 0 when it was left untouched."""
        ...

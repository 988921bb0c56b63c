"""What a pass is.

A pass is a frozen dataclass: its fields are its options, its `name` is its command-line name. It edits
the module's graph in place and says how many edits it made; a second run must make none.

A pass may also say where its pattern was found and it did not fire, and why: it then has a method
`refusals` (`ExplainingPass`), asked on the module as the pass left it. `mdc explain` prints them:
`fuse-residual: C3/b1.ibn/add: the operand has shape …`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
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


@dataclass(frozen=True)
class Refusal:
    """Why a pass left a place alone that looks like its pattern.

    node: name of the node; reason: a sentence without a full stop that a user can act on.
    """

    node: str
    reason: str


@runtime_checkable
class ExplainingPass(Pass, Protocol):
    """A pass that gives reasons. Optional: a pass that has none is a `Pass` only."""

    def refusals(self, module: Module) -> Iterable[Refusal]:
        """The places left alone, in graph order; `module` is as the pass left it and is not edited."""
        ...

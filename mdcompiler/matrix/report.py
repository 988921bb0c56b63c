"""What a matrix found out, as it is kept in files: a row a pair, and in it a row a block."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["bit for bit", "tolerance", "differs", "compiled only", "refused", "failed"]
GOOD: tuple[Verdict, ...] = ("bit for bit", "tolerance")


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BlockRow(_Row):
    """One block for one target.

    kinds: of its kernels, in order. precision: e.g. `int8` or `int8 + fp32`. weight_bytes, working_bytes: see
    `mdcompiler.matrix.memory`; None for what a backend added. steps: largest difference of an integer
    that leaves the block to the integer reference; relative: of a float, to the range of the reference's; None where
    nothing was compared. diverges: one of them is more than the tolerance allows. cost: in the pair's unit.
    predicted_us: by the latency model. fallbacks: what has no kernel of its own, or runs on the host, and why.
    """

    block: str
    kinds: tuple[str, ...] = ()
    precision: str = ""
    macs: int = 0
    weight_bytes: int | None = None
    working_bytes: int | None = None
    steps: int | None = None
    relative: float | None = None
    diverges: bool = False
    cost: float | None = None
    predicted_us: float | None = None
    fallbacks: tuple[str, ...] = ()


class PairRow(_Row):
    """One network for one target.

    verdict: see README. reason: of `compiled only`, `refused`, `failed` and `differs`. note: what limits the verdict.
    outputs: name -> largest difference relative to the range of the reference's. blocks_not_compared: why the tensors
    between blocks were not, "" where they were. unit, how: of the blocks' costs. predicted_ms: of the whole network,
    on predicted_chip. arena_bytes: working memory of one run; file_bytes: of the artifact.
    """

    network: str
    target: str
    precision: str = ""
    verdict: Verdict
    reason: str = ""
    note: str = ""
    outputs: dict[str, float] = Field(default_factory=dict)
    blocks_not_compared: str = ""
    unit: str = ""
    how: str = ""
    costs_missing: str = ""
    predicted_ms: float | None = None
    predicted_chip: str = ""
    arena_bytes: int | None = None
    file_bytes: int | None = None
    blocks: tuple[BlockRow, ...] = ()

    @property
    def first_diverging(self) -> str:
        """The first block whose result is wrong, "" when none is known."""
        return next((block.block for block in self.blocks if block.diverges), "")

    @property
    def steps(self) -> int | None:
        """Largest difference of an integer between blocks; None where none was compared."""
        return max((block.steps for block in self.blocks if block.steps is not None), default=None)

    @property
    def relative(self) -> float | None:
        """Largest relative difference of a float between blocks, else of an output; None where nothing ran.

        Equal detections in another order are far apart as outputs.
        """
        known = [block.relative for block in self.blocks if block.relative is not None]
        return max(known or self.outputs.values(), default=None)

    @property
    def cost(self) -> float | None:
        """Of one run, in `unit`."""
        known = [block.cost for block in self.blocks if block.cost is not None]
        return sum(known) if known else None

    @property
    def fallbacks(self) -> int:
        """How many kernels or operators have no kernel of their own."""
        return sum(len(block.fallbacks) for block in self.blocks)


class Matrix(_Row):
    """Every pair, by network and then by target, and what holds for all of them."""

    pairs: tuple[PairRow, ...]
    notes: tuple[str, ...] = ()

"""A detector as its steps, grouped as reports speak of them: blocks of the backbone, extra layers, head levels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mdcompiler.spec.steps import Conv, Size, Step, Tensor


@dataclass(frozen=True)
class PlacedBlock:
    """A part of the network that reports speak of: a backbone block, an extra layer, a head level.

    path: e.g. `C4/b2.ibn`; text: e.g. `IBN k5 e8 96->96 s1`.
    """

    path: str
    kind: str
    text: str
    steps: tuple[Step, ...]

    def describe(self) -> str:
        """What the block is, in a few words."""
        return self.text

    @property
    def output(self) -> Tensor:
        return self.steps[-1].output

    @property
    def macs(self) -> int:
        """Multiply-adds of its convolutions."""
        return sum(step.macs for step in self.steps)


@dataclass(frozen=True)
class Predictor:
    """One of a level's two predictors: a depthwise convolution, then a 1×1 one to `slots` numbers an anchor."""

    path: str
    anchors: int
    slots: int
    steps: tuple[Conv, Conv]

    @property
    def boxes(self) -> int:
        """Anchor boxes on this level."""
        height, width = self.steps[-1].output.size
        return height * width * self.anchors


@dataclass(frozen=True)
class Level:
    """A feature map of the head with its predictors."""

    source: Tensor
    box: Predictor
    scores: Predictor


@dataclass(frozen=True)
class Network:
    """All steps of a detector, in the order in which they run: backbone, extra layers, head."""

    backbone: tuple[PlacedBlock, ...]
    extra: tuple[PlacedBlock, ...]
    levels: tuple[Level, ...]

    @property
    def blocks(self) -> tuple[PlacedBlock, ...]:
        heads = (
            PlacedBlock(
                path=f"head/l{index}",
                kind="head",
                text=f"head {level.source.channels}->{level.box.anchors}x({level.box.slots}+{level.scores.slots})",
                steps=(*level.box.steps, *level.scores.steps),
            )
            for index, level in enumerate(self.levels)
        )
        return (*self.backbone, *self.extra, *heads)

    @property
    def steps(self) -> Iterator[Step]:
        for block in self.blocks:
            yield from block.steps

    @property
    def sizes(self) -> tuple[Size, ...]:
        """(height, width) of the levels' grids."""
        return tuple(level.source.size for level in self.levels)

    @property
    def anchor_count(self) -> int:
        return sum(level.box.boxes for level in self.levels)

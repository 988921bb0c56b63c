"""Multiply-adds and parameters of a network, as the MobileDet paper's figures count them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mdcompiler.spec.build import build_network
from mdcompiler.spec.model import Spec
from mdcompiler.spec.network import PlacedBlock
from mdcompiler.spec.steps import Shape


@dataclass(frozen=True)
class BlockCount:
    """One line of the table: path `C4/b2.ibn`, kind, text `IBN k5 e8 96->96 s1`, output shape NCHW."""

    path: str
    kind: str
    text: str
    output: Shape
    macs: int
    params: int


@dataclass(frozen=True)
class Counts:
    """macs: multiply-adds of all convolutions, squeeze-excite ones included, nothing else.

    params: numbers in a checkpoint, moving means and variances included. anchors: boxes a picture has.
    """

    macs: int
    params: int
    anchors: int
    blocks: tuple[BlockCount, ...]


def count(spec: Spec) -> Counts:
    """The counts of `spec`, in all and block by block."""
    network = build_network(spec)
    blocks = tuple(_count_block(block) for block in network.blocks)
    return Counts(
        macs=sum(block.macs for block in blocks),
        params=sum(block.params for block in blocks),
        anchors=network.anchor_count,
        blocks=blocks,
    )


def _count_block(block: PlacedBlock) -> BlockCount:
    params = sum(math.prod(shape) for step in block.steps for _, shape in step.weights())
    return BlockCount(block.path, block.kind, block.describe(), block.output.shape, block.macs, params)

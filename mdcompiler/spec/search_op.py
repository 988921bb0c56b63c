"""What a block of the search space may be: an operation without its channels and stride."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mdcompiler.spec.blocks import Block, FusedBlock, IbnBlock, TuckerBlock
from mdcompiler.spec.fields import Residual


@dataclass(frozen=True)
class Op:
    """kind: ibn, fused or tucker; ratios: (expansion,) or (input ratio, output ratio)."""

    kind: str
    kernel: int
    ratios: tuple[float, ...]

    def block(self, out: int, stride: int, residual: Residual) -> Block:
        """The block with this operation."""
        if self.kind == "tucker":
            first, second = self.ratios
            return TuckerBlock(
                kind="tucker",
                out=out,
                input_ratio=first,
                output_ratio=second,
                kernel=self.kernel,
                stride=stride,
                residual=residual,
            )
        (expansion,) = self.ratios
        if self.kind == "ibn":
            return IbnBlock(
                kind="ibn", out=out, expansion=expansion, kernel=self.kernel, stride=stride, residual=residual
            )
        return FusedBlock(
            kind="fused", out=out, expansion=expansion, kernel=self.kernel, stride=stride, residual=residual
        )


def op_of(block: Block) -> Op | None:
    """The operation of a block; None for a plain convolution."""
    if isinstance(block, TuckerBlock):
        return Op("tucker", block.kernel, (block.input_ratio, block.output_ratio))
    if isinstance(block, IbnBlock | FusedBlock):
        return Op(block.kind, block.kernel, (block.expansion,))
    return None


def ibn_ops(kernels: Iterable[int], expansions: Iterable[float]) -> tuple[Op, ...]:
    """Inverted bottlenecks of every kernel and expansion."""
    ratios = tuple(expansions)
    return tuple(Op("ibn", kernel, (float(ratio),)) for kernel in kernels for ratio in ratios)


def fused_ops(kernels: Iterable[int], expansions: Iterable[float]) -> tuple[Op, ...]:
    """Fused bottlenecks of every kernel and expansion."""
    ratios = tuple(expansions)
    return tuple(Op("fused", kernel, (float(ratio),)) for kernel in kernels for ratio in ratios)


def tucker_ops(kernels: Iterable[int], ratios: Iterable[float]) -> tuple[Op, ...]:
    """Tucker convolutions of every kernel and pair of ratios."""
    values = tuple(ratios)
    return tuple(Op("tucker", kernel, (first, second)) for kernel in kernels for first in values for second in values)

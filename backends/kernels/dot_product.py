"""How a processor multiplies four bytes of a pixel with four weights of every output channel and adds them up.

`vpdpbusd` (AVX512-VNNI) does it in one instruction. `pmaddwd` (SSE2, AVX2, AVX-512) multiplies 16-bit pairs, so
the four bytes become the pairs (0, 2) and (1, 3) with one mask and one shift, and the weights are stored as
int16; both are exact, unlike pmaddubsw, whose 16-bit sums saturate. `sdot` is Arm's. `plain` needs no special
instruction. `usmmla`, Arm's matrix product, takes eight bytes of two pixels: it has a kernel of its own
(`neon_matrix`) and only its weights are described here.

A new instruction set is one more subclass of `Dot`: what it stores decides the order of the packed weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.kernels import neon
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.saturate import choose_processor
from mdcompiler.backends.kernels.tir import Expr, Function, Memory, splat, vector_type
from mdcompiler.target import Target

Array = NDArray[Any]
DotName = Literal["plain", "vpdpbusd", "pmaddwd", "sdot", "usmmla"]
QUAD = 4
"""Input channels that one dot product takes."""
OCTET = 8
"""Input channels that one matrix product takes."""
_WIDE_BYTES = 0x00FF00FF
"""Keeps bytes 0 and 2 of four, each in 16 bits."""


class Dot:
    """dtype: of the packed weights. low, high: what one weight may be. taken: what is taken from every input byte."""

    dtype = "int8"
    low, high = -128, 127
    taken = 0


class QuadDot(Dot, ABC):
    """An instruction, or a few, that multiplies four bytes of one pixel."""

    @abstractmethod
    def spread(self, f: Function, source: Memory, index: Expr, lanes: int) -> Sequence[Expr]:
        """The four bytes at `index`, in all lanes: what `multiply` takes for every output block."""

    @abstractmethod
    def multiply(self, total: Expr, four: Sequence[Expr], weight: Memory, at: Expr, lanes: int) -> Expr:
        """total[o] + sum over i < 4 of four[i] * weight[o, i]; the packed quad of weights starts at `at`."""

    def pack(self, quads: Array) -> Array:
        """[..., v, 4] integers -> [..., 4 v] in the order in which `multiply` reads."""
        return quads.reshape(*quads.shape[:-2], -1)


class _Plain(QuadDot):
    """One channel at a time: weights [4][v]."""

    def spread(self, f: Function, source: Memory, index: Expr, lanes: int) -> Sequence[Expr]:
        return [splat(source[index + i].astype("int32"), lanes) for i in range(QUAD)]

    def multiply(self, total: Expr, four: Sequence[Expr], weight: Memory, at: Expr, lanes: int) -> Expr:
        for i, value in enumerate(four):
            total = total + value * weight.vector(at + i * lanes, lanes).astype(vector_type("int32", lanes))
        return total

    def pack(self, quads: Array) -> Array:
        return super().pack(np.swapaxes(quads, -1, -2))


class _Vpdpbusd(QuadDot):
    """Weights [v][4]; vectors of 16 lanes."""

    def spread(self, f: Function, source: Memory, index: Expr, lanes: int) -> Sequence[Expr]:
        return [tirx.reinterpret(f"int8x{lanes * QUAD}", _four_bytes(source, index, lanes))]

    def multiply(self, total: Expr, four: Sequence[Expr], weight: Memory, at: Expr, lanes: int) -> Expr:
        return vpdpbusd(total, four[0], weight.vector(at, lanes * QUAD), lanes)


class _Pmaddwd(QuadDot):
    """Weights int16 [2][v][2]: the pairs (0, 2) of all channels, then the pairs (1, 3)."""

    dtype = "int16"
    low, high = -32768 // 2, 32767 // 2

    def spread(self, f: Function, source: Memory, index: Expr, lanes: int) -> Sequence[Expr]:
        four, words = f.let("four", _four_bytes(source, index, lanes), f"int32x{lanes}"), f"uint16x{2 * lanes}"
        even = four & splat(_WIDE_BYTES, lanes, "int32")
        odd = tirx.reinterpret(words, four) >> splat(8, 2 * lanes, "uint16")
        pairs = (tirx.reinterpret(f"int16x{2 * lanes}", value) for value in (even, odd))
        return [f.let("pairs", value, f"int16x{2 * lanes}") for value in pairs]

    def multiply(self, total: Expr, four: Sequence[Expr], weight: Memory, at: Expr, lanes: int) -> Expr:
        for half, pairs in enumerate(four):
            total = total + pmaddwd(pairs, weight.vector(at + half * 2 * lanes, 2 * lanes), lanes)
        return total

    def pack(self, quads: Array) -> Array:
        pairs = np.stack([quads[..., 0::2], quads[..., 1::2]], axis=-3)
        return pairs.reshape(*quads.shape[:-2], -1)


class _Sdot(QuadDot):
    """Weights [4][4]; the input's top bits are flipped, because sdot takes signed bytes. See `neon_convolution`."""

    taken = neon.SIGN

    def spread(self, f: Function, source: Memory, index: Expr, lanes: int) -> Sequence[Expr]:
        return [neon.signed(source.vector(index, QUAD), QUAD)]

    def multiply(self, total: Expr, four: Sequence[Expr], weight: Memory, at: Expr, lanes: int) -> Expr:
        return neon.sdot(total, weight.vector(at, lanes * QUAD), four[0], QUAD, 0)


_QUAD_DOTS: dict[DotName, QuadDot] = {
    "plain": _Plain(),
    "vpdpbusd": _Vpdpbusd(),
    "pmaddwd": _Pmaddwd(),
    "sdot": _Sdot(),
}
_USMMLA = Dot()
_VPDPBUSD = {16: "llvm.x86.avx512.vpdpbusd.512"}
_PMADDWD = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}


def dot_of(name: DotName) -> Dot:
    """What the instructions called `name` want of their operands."""
    return _USMMLA if name == "usmmla" else _QUAD_DOTS[name]


def quad_dot_of(name: DotName) -> QuadDot:
    """The instructions called `name`. Raises KeyError for one that has a kernel of its own."""
    return _QUAD_DOTS[name]


def choose_dot(target: Target) -> DotName:
    """The fastest dot product that every processor of the target has."""
    if "avx512_vnni" in target.cpu_flags and target.lanes in _VPDPBUSD:
        return "vpdpbusd"
    if "asimddp" in target.cpu_flags and target.lanes == neon.LANES:
        return "sdot"
    return "pmaddwd" if choose_processor(target) == "x86" and target.lanes in _PMADDWD else "plain"


def choose_product(target: Target, by_blocks: bool) -> DotName:
    """The same, or matrix products where the input lies in blocks of channels and there is more than one pixel."""
    has_matrices = "i8mm" in target.cpu_flags and target.lanes == neon.LANES
    return "usmmla" if by_blocks and has_matrices else choose_dot(target)


def vpdpbusd(total: Expr, unsigned: Expr, signed: Expr, lanes: int) -> Expr:
    """total + dot products of four unsigned and four signed bytes in every lane."""
    return tirx.call_llvm_pure_intrin(f"int32x{lanes}", _VPDPBUSD[lanes], total, unsigned, signed)


def pmaddwd(left: Expr, right: Expr, lanes: int) -> Expr:
    """Dot products of two int16 in every lane, as int32."""
    return tirx.call_llvm_pure_intrin(f"int32x{lanes}", _PMADDWD[lanes], left, right)


def _four_bytes(source: Memory, index: Expr, lanes: int) -> Expr:
    return splat(tirx.reinterpret("int32", source.vector(index, QUAD)), lanes)

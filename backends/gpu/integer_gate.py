"""Squeeze-excite on bytes: the mean of every channel, and layers on a picture of one pixel.

Few numbers and long sums: the threads of a workgroup share each sum and add their parts in shared memory.
"""

from __future__ import annotations

from typing import Any

from mdcompiler.backends.gpu import integer_ending as end
from mdcompiler.backends.gpu.function import LANES, GpuFunction, both, div, mod
from mdcompiler.backends.gpu.integer_ending import VECTOR, WORD, Ending, Finisher
from mdcompiler.backends.gpu.integer_instructions import dot4, join, signed, unsigned_byte
from mdcompiler.backends.gpu.traits import Dot4
from mdcompiler.backends.kernels.tir import Expr, Memory

MEAN_THREADS = 64
DENSE_THREADS = 128
SHARERS = 16
"""Threads that share the four sums of one word of a dense layer."""


def write_mean(name: str, words: int, pixels: int, raises: bool, dot: Dot4) -> Any:
    """`name(source [words][pixels], numbers, target [words])`: a workgroup for each word."""
    f = GpuFunction(name, (words, 1), MEAN_THREADS)
    source, numbers = f.buffer("source", words * pixels, WORD), f.buffer("numbers", end.NUMBERS, WORD)
    target, sums = f.buffer("target", words, WORD), f.local(LANES, WORD)
    _clear(sums)
    rounds = -(-pixels // MEAN_THREADS)
    with f.loop(0, rounds, "round") as step:
        pixel = f.let("pixel", step * MEAN_THREADS + f.thread)
        with f.when(True if pixels % MEAN_THREADS == 0 else pixel < pixels):
            word = f.let("word", source[f.block_x * pixels + pixel])
            for place in range(LANES):
                sums[place] = sums[place] + unsigned_byte(word, place)
    totals = _together(f, sums, MEAN_THREADS, f.thread, 0)
    with f.when(f.thread == 0):
        zeros = f.let("zeros", numbers[end.OWN_ZERO] * pixels)
        found = [end.finish_one(f, dot, total - zeros, numbers, raises) for total in totals]
        target[f.block_x] = join([f.let("byte", value) for value in found])
    return f.finish()


def write_dense(name: str, in_words: int, out_words: int, ending: Ending, dot: Dot4) -> Any:
    """`name(source [in_words], weight, constants, numbers, [table,] target [out_words])`.

    weight: vectors of four words, one for each output channel, [in_words][out_words] (`integer_pack.pack_dense`).
    """
    groups = DENSE_THREADS // SHARERS
    f = GpuFunction(name, (-(-out_words // groups), 1), DENSE_THREADS)
    source, weight = f.buffer("source", in_words, WORD), f.buffer("weight", in_words * out_words, VECTOR)
    finisher = Finisher(f, ending, dot, out_words)
    target, sums = f.buffer("target", out_words, WORD), f.local(LANES, WORD)
    # neighbouring threads read neighbouring weights
    own, sharer = f.let("own", mod(f.thread, groups)), f.let("sharer", div(f.thread, groups))
    out = f.let("out", f.block_x * groups + own)
    finisher.prepare()
    _clear(sums)
    exists = True if out_words % groups == 0 else out < out_words
    with f.when(exists), f.loop(0, -(-in_words // SHARERS), "round") as step:
        word = f.let("word", step * SHARERS + sharer)
        with f.when(True if in_words % SHARERS == 0 else word < in_words):
            _multiply(f, dot, sums, f.let("input", signed(source[word])), weight[word * out_words + out])
    totals = _together(f, sums, SHARERS, sharer, own, groups)
    with f.when(both(sharer == 0, exists)):
        start, factors = finisher.start(out), finisher.load(out)
        started = [f.let("total", total + start[place]) for place, total in enumerate(totals)]
        target[out] = finisher.word(started, factors, 0)
    return f.finish()


def _multiply(f: GpuFunction, dot: Dot4, sums: Memory, value: Expr, weights: Expr) -> None:
    four = f.local(LANES, WORD)
    four.store(0, LANES, weights)
    for place in range(LANES):
        sums[place] = dot4(dot, sums[place], value, four[place])


def _clear(sums: Memory) -> None:
    for place in range(LANES):
        sums[place] = 0


def _together(f: GpuFunction, sums: Memory, sharers: int, sharer: Expr, group: Expr, groups: int = 1) -> list[Expr]:
    """The four sums of all `sharers` of a group (a power of two), for the first of them."""
    near = f.shared(sharers * groups, VECTOR)
    mine = f.let("mine", sharer * groups + group)
    near[mine] = sums.vector(0, LANES)
    f.barrier()
    apart = sharers // 2
    while apart:
        with f.when(sharer < apart):
            near[mine] = near[mine] + near[mine + apart * groups]
        f.barrier()
        apart //= 2
    found = f.local(LANES, WORD)
    found.store(0, LANES, near[mine])
    return [found[place] for place in range(LANES)]

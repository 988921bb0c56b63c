"""From int32 sums back to bytes, four channels of a pixel at a time.

Requantization multiplies by a 31-bit fraction, shifts and rounds once, halves up (`fixed-point-single`), in int32
alone. With x the sum, m the fraction, x m / 2^(31+s) the number to be rounded and s >= 2, which real scales keep,

    ((high_product(x, m) >> (s - 2)) + 2 z + 1) >> 1

is that number, rounded, plus the zero point z: the inner shift gives x m / 2^(30+s) rounded down, and half of that
plus a half, rounded down, is the rule. A factor from 1/4 on has s < 2: its sum is shifted left first (`raises`).
"""

from __future__ import annotations

from dataclasses import dataclass

from mdcompiler.backends.gpu.function import LANES, GpuFunction
from mdcompiler.backends.gpu.integer_instructions import high_product, pack, unsigned_byte
from mdcompiler.backends.gpu.traits import Dot4
from mdcompiler.backends.kernels.later import tirx
from mdcompiler.backends.kernels.tir import Expr, Memory

WORD, VECTOR = "int32", "int32x4"
"""Types of memory: one word of four bytes, and four such words or four sums."""
TABLE_SIZE = 256
_TABLE_WORDS = TABLE_SIZE // LANES

# Places in the buffer of numbers. A shifted zero point is twice the zero point plus 1.
SHIFTED_ZERO, LOW, HIGH = 0, 1, 2
OWN_ZERO, OTHER_ZERO, SUM_SHIFTED_ZERO, SUM_LOW, SUM_HIGH = 3, 4, 5, 6, 7
BORDER = 8
"""The input's zero point in all four bytes, their top bits flipped: what stands outside the picture."""
FACTORS = 9
"""Multiplier, right and left shift of own, other and sum follow here."""
NUMBERS = 18

START, MULTIPLIER, RIGHT, LEFT = 0, 1, 2, 3
"""Fours of the constants of one word of channels; LEFT is there only when some factor needs it."""


@dataclass(frozen=True)
class Sum:
    """An addition of two tensors of bytes. Operands whose factor is 1/2 (the larger scale) need no product.

    raises: the factor of the sum is 1/4 or more. clamp: its bounds are not 0 and 255.
    """

    own_is_half: bool
    other_is_half: bool
    raises: bool = False
    clamp: bool = True


@dataclass(frozen=True)
class Ending:
    """What follows the sums of a tile.

    raises: some factor is 1/4 or more. table: bytes go through a table of 256 afterwards. add: a second tensor is
    added after that. floats: in the end every byte becomes the float32 that a table of 256 has for it. clamp: the
    bounds of what the multiplier gives are not 0 and 255.
    """

    raises: bool = False
    table: bool = False
    add: Sum | None = None
    floats: bool = False
    clamp: bool = True

    @property
    def fours(self) -> int:
        """Fours of constants for one word of channels."""
        return 4 if self.raises else 3


PLAIN = Ending()


class Finisher:
    """The parameters of one kernel's ending, and the code that uses them.

    words: words of channels that `constants` holds. residual: words of the second tensor, and their type.
    """

    def __init__(
        self, f: GpuFunction, ending: Ending, dot: Dot4, words: int, residual: tuple[int, str] = (0, WORD)
    ) -> None:
        self.f, self.ending, self.dot = f, ending, dot
        self.constants = f.buffer("constants", words * ending.fours, VECTOR)
        self.numbers = f.buffer("numbers", NUMBERS, WORD)
        self._table = f.buffer("table", _TABLE_WORDS, WORD) if ending.table else None
        self._floats = f.buffer("floats", TABLE_SIZE) if ending.floats else None
        self.residual = f.buffer("residual", *residual) if ending.add else None

    def prepare(self) -> None:
        """Bring the tables near the threads. A barrier must follow before `bytes`."""
        if self._table is not None:
            self.table = share(self.f, self._table, _TABLE_WORDS, WORD)
        if self._floats is not None:
            self.floats = share(self.f, self._floats, TABLE_SIZE, "float32")

    def start(self, word: Expr) -> Memory:
        """What the sums of one word of channels start from, in four registers."""
        found = self.f.local(LANES, WORD)
        found.store(0, LANES, self.constants[word * self.ending.fours + START])
        return found

    def load(self, word: Expr) -> Memory:
        """The factors of one word of channels, in registers: `MULTIPLIER`, `RIGHT` … times four."""
        fours = self.ending.fours
        found = self.f.local((fours - 1) * LANES, WORD)
        for four in range(MULTIPLIER, fours):
            found.store((four - MULTIPLIER) * LANES, LANES, self.constants[word * fours + four])
        return found

    def bytes(self, totals: list[Expr], factors: Memory) -> list[Expr]:
        """The sums of four channels, start included, as int32 from 0 to 255, through the table."""
        values = [clamp(value, self.numbers, LOW, HIGH) for value in self._rescaled(totals, factors)]
        values = [self.f.let("byte", value) for value in values]
        if self._table is not None:
            values = [self.f.let("entry", look_up(self.table, value)) for value in values]
        return values

    def word(self, totals: list[Expr], factors: Memory, residual: Expr) -> Expr:
        """Four channels of the result. residual: the word of the second tensor, where there is one."""
        f, ending = self.f, self.ending
        if ending.add is not None:
            sums = add_bytes(f, self.dot, self.bytes(totals, factors), residual, self.numbers, ending.add)
            return f.let("word", pack(f, self.dot, sums, ending.add.clamp))
        if ending.table or ending.clamp:
            return f.let("word", pack(f, self.dot, self.bytes(totals, factors), bounded=True))
        return f.let("word", pack(f, self.dot, self._rescaled(totals, factors), bounded=False))

    def _rescaled(self, totals: list[Expr], factors: Memory) -> list[Expr]:
        """The sums of four channels as int32 with their zero point, not saturated."""
        values = []
        for channel, sum_ in enumerate(totals):
            total = self.f.let("total", sum_)
            if self.ending.raises:
                total = raise_sum(self.f, total, factors[(LEFT - MULTIPLIER) * LANES + channel])
            scale = factors[channel], factors[(RIGHT - MULTIPLIER) * LANES + channel]
            value = rescale(self.f, self.dot, total, *scale, self.numbers[SHIFTED_ZERO])
            values.append(self.f.let("value", value))
        return values


def share(f: GpuFunction, memory: Memory, size: int, dtype: str) -> Memory:
    """A copy of `memory` that the workgroup's threads make together; to be read after a barrier."""
    copy = f.shared(size, dtype)
    for first in range(0, size, f.threads):
        at = f.thread + first
        with f.when(at < size if first + f.threads > size else True):
            copy[at] = memory[at]
    return copy


def look_up(table: Memory, index: Expr) -> Expr:
    """Byte `index` of a table of words."""
    return (table[index >> 2] >> ((index & 3) * 8)) & 0xFF


def rescale(f: GpuFunction, dot: Dot4, total: Expr, multiplier: Expr, right: Expr, shifted_zero: Expr) -> Expr:
    """`total * multiplier / 2^(33 + right)`, rounded half up, plus the zero point; see above."""
    return ((high_product(f, dot, total, multiplier) >> right) + shifted_zero) >> 1


def finish_one(f: GpuFunction, dot: Dot4, total: Expr, numbers: Memory, raises: bool) -> Expr:
    """`total` rescaled by the factor of an operation that has one for all channels, as an int32 from 0 to 255."""
    multiplier, right, left = _factor(numbers, 0)
    if raises:
        total = raise_sum(f, total, left)
    return clamp(rescale(f, dot, total, multiplier, right, numbers[SHIFTED_ZERO]), numbers, LOW, HIGH)


def raise_sum(f: GpuFunction, total: Expr, left: Expr) -> Expr:
    """`total << left`; sums that would wrap are cut to where every result is saturated anyway."""
    bound = f.let("bound", tirx.const(1 << 30, "int32") >> left)
    return f.let("raised", tirx.min(tirx.max(total, 0 - bound), bound) << left)


def add_bytes(f: GpuFunction, dot: Dot4, own: list[Expr], other: Expr, numbers: Memory, add: Sum) -> list[Expr]:
    """TFLite's ADD of up to four bytes as int32 and a word: sums as int32, within their bounds with `add.clamp`."""
    return [
        f.let("sum", _sum(f, dot, mine, unsigned_byte(other, place), numbers, add)) for place, mine in enumerate(own)
    ]


def _sum(f: GpuFunction, dot: Dot4, own: Expr, other: Expr, numbers: Memory, add: Sum) -> Expr:
    left = _operand(f, dot, own - numbers[OWN_ZERO], numbers, 0, add.own_is_half)
    right = _operand(f, dot, other - numbers[OTHER_ZERO], numbers, 1, add.other_is_half)
    total = f.let("total", left + right)
    multiplier, shift, raised = _factor(numbers, 2)
    if add.raises:
        total = raise_sum(f, total, raised)
    value = rescale(f, dot, total, multiplier, shift, numbers[SUM_SHIFTED_ZERO])
    return clamp(value, numbers, SUM_LOW, SUM_HIGH) if add.clamp else value


def _operand(f: GpuFunction, dot: Dot4, value: Expr, numbers: Memory, place: int, is_half: bool) -> Expr:
    """A byte less its zero point, with the bits that TFLite's ADD gains; a factor of 1/2 takes one of them back."""
    multiplier, right, left = _factor(numbers, place)
    if is_half:
        return value << left
    return rescale(f, dot, f.let("gained", value << left), multiplier, right, tirx.const(1, "int32"))


def _factor(numbers: Memory, place: int) -> tuple[Expr, Expr, Expr]:
    first = FACTORS + 3 * place
    return numbers[first], numbers[first + 1], numbers[first + 2]


def clamp(value: Expr, numbers: Memory, low: int, high: int) -> Expr:
    """`value` within two of the numbers."""
    return tirx.min(tirx.max(value, numbers[low]), numbers[high])

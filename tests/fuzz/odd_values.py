"""Values that inputs are not written for."""

from __future__ import annotations

import math
from random import Random
from typing import Any

NAMES = (
    "",
    " ",
    "int",
    "NULL",
    "x",
    "X",
    "a.b",
    "a_b",
    "a/b",
    "../a",
    "/etc/hostname",
    "a" * 300,
    "a\0b",
    "\ud7ff\ufffe",
    "ä→🙂",
    "%s%n",
    "-",
    "--help",
    "0",
    "null",
    "main",
    "mdc.kernel",
    "con\nline",
    '"; int x;',
    "*/",
)
INTEGERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    255,
    256,
    -128,
    65535,
    2**31 - 1,
    -(2**31),
    2**31,
    2**32,
    2**40,
    2**53 + 1,
    2**62,
    2**63 - 1,
    -(2**63),
)
FLOATS = (0.0, -0.0, 1e-45, 1e-30, 0.5, -1.0, 1e30, 3.5e38, 1e308, math.inf, -math.inf, math.nan)


def odd_value(random: Random) -> Any:
    """Something that JSON and YAML can say."""
    return random.choice(
        (
            lambda: random.choice(INTEGERS),
            lambda: random.choice(INTEGERS) * random.choice((1, 2**64, 10**30)),
            lambda: random.choice(FLOATS),
            lambda: random.choice(NAMES),
            lambda: None,
            lambda: random.choice((True, False)),
            list,
            dict,
            lambda: [random.choice(INTEGERS)] * random.choice((1, 2, 9, 300)),
            lambda: {random.choice(NAMES): random.choice(INTEGERS)},
            lambda: nested(random.choice((5, 50, 300))),
            lambda: "9" * random.choice((20, 400, 5000)),
        )
    )()


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def near(random: Random, value: int) -> int:
    """An integer that a field may have had instead of `value`."""
    return random.choice((value + 1, value - 1, -value, value * 2, value // 2, random.choice(INTEGERS)))

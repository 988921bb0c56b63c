"""The raw head of a detector, left readable after a run: a pointer into the arena, no copy and no second network.

Suppression is the last call of a detector, so what it read is still there when the run is over. The check of an
artifact compares that, see `mdcompiler.head_check`; a program may use it too:

    const float *scores = model_head(context, 1, &bytes);
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.head_check import RAW_BOXES, RAW_SCORES

if TYPE_CHECKING:  # who reads a head needs nothing of what writes a library
    from mdcompiler.backends.clib.c_source import Source

SYMBOL = "head"
_FLOAT_BYTES = 4


def declaration(source: Source, prefix: str) -> str:
    """The lines of `model.h`; nothing for a network without such a head."""
    if not head_places(source):
        return ""
    return f"""
/* What suppression read in the last run of this context: box encodings (index 0) and class scores (1), float.
 * They stay until its next run. */
const void *{prefix}_{SYMBOL}(const {prefix}_context *context, int index, size_t *bytes);
"""


def implementation(source: Source, prefix: str) -> str:
    """The lines of `model.c`."""
    places = head_places(source)
    if not places:
        return ""
    rows = ", ".join(f"{{{offset}, {size}}}" for offset, size in places)
    return f"""
EXPORT const void *{prefix}_{SYMBOL}(const {prefix}_context *context, int index, size_t *bytes) {{
    static const size_t places[][2] = {{{rows}}};
    if (index < 0 || index > 1)
        return NULL;
    *bytes = places[index][1];
    return context->arena + places[index][0];
}}
"""


def head_places(source: Source) -> list[tuple[int, int]]:
    """(offset, bytes) in the arena of encodings and scores; [] where they are not there when the run is over."""
    last = source.calls[-1]
    if source.near_bytes or not last.code.startswith("mdc_detect("):
        return []
    found = []
    for name in last.reads[:2]:
        root, offset = source.aliases.place(name)
        if root not in source.plan.offsets or name not in source.program.sizes:
            return []
        found.append((source.plan.offsets[root] + offset, source.program.sizes[name]))
    return found


def read_head(function: Callable[..., Any], context: int) -> dict[str, NDArray[Any]]:
    """Copies of the raw head after a run of `context`. function: the library's `model_head`."""
    boxes, scores = (_floats(function, context, index) for index in (0, 1))
    rows = boxes.size // 4
    return {RAW_BOXES: boxes.reshape(1, rows, 4), RAW_SCORES: scores.reshape(1, rows, -1)}


def _floats(function: Callable[..., Any], context: int, index: int) -> NDArray[np.float32]:
    size = ctypes.c_size_t()
    place = function(context, index, ctypes.byref(size))
    return np.frombuffer(ctypes.string_at(place, size.value), np.float32).copy()

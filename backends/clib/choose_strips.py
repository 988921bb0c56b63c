"""Which chains of convolutions run strip by strip: by record where there is one, else by the size of the cache.

A strip kernel works row by row, which wastes a little of its register tiles. It wins when the tensors between
the convolutions do not fit the second-level cache, and it always saves memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdcompiler.backends.clib.strip_chain import Chain
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.templates import tools
from mdcompiler.target import Target
from mdcompiler.tuning.canonical import canonical, plain
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Key

TEMPLATE = "strips"
VERSION = 1
"""Bumped whenever what `fuse_strips` writes changes, which retires the records."""
_PASSES = 2
"""Over a tensor between two kernels: one writes, one reads."""
_SHARE_OF_L2 = 0.5
"""Of the second-level cache for strips; weights and the input take the rest."""


def strip_chooser(chooser: Chooser) -> Callable[[Chain], int]:
    """Rows of a chain's strips, or 0: leave the chain as it is."""
    target, machine = chooser.target, Machine.of(chooser.target)

    def rows(chain: Chain) -> int:
        record = chooser.records.find(key_of(chain), machine)
        found = record.schedule.get("rows") if record is not None else None
        if type(found) is int and 0 <= found <= chain.rows:
            return found
        return _by_size(chain, target)

    return rows


def _by_size(chain: Chain, target: Target) -> int:
    """Strips where whole tensors leave the cache, unless reading the weights for every strip costs more than that."""
    whole = chain.scratch_bytes(chain.rows)
    rows = largest_strip(chain, target)
    strips = -(-chain.rows // rows)
    worth_it = whole > target.l2_bytes and strips * chain.weight_bytes <= whole * _PASSES
    return rows if worth_it else 0


def key_of(chain: Chain) -> Key:
    """What the record of a chain is looked up by."""
    return Key(TEMPLATE, VERSION, canonical(tools()), canonical(workload_of(chain)))


def workload_of(chain: Chain) -> dict[str, Any]:
    """The chain's kernels as data."""
    return {"kernels": [plain(source.work) for source in chain.sources]}


def largest_strip(chain: Chain, target: Target) -> int:
    """The most rows, in equal strips, whose intermediate tensors leave room in the second-level cache."""
    for count in range(1, chain.rows + 1):
        rows = -(-chain.rows // count)
        if chain.scratch_bytes(rows) <= target.l2_bytes * _SHARE_OF_L2:
            return rows
    return 1

"""All that is in the way of a model, told at once: who mends one thing need not come back for the next."""

from __future__ import annotations

from collections.abc import Iterable

from mdcompiler.errors import ModelError

_MOST_TOLD = 10


def raise_faults(faults: Iterable[str]) -> None:
    """Raise ModelError with every one of `faults`, each a whole sentence or two; nothing when there is none."""
    found = list(dict.fromkeys(faults))
    if not found:
        return
    if len(found) == 1:
        raise ModelError(found[0])
    told = [f"({number}) {fault}" for number, fault in enumerate(found[:_MOST_TOLD], 1)]
    if len(found) > _MOST_TOLD:
        told.append(f"and {len(found) - _MOST_TOLD} more of such.")
    raise ModelError(f"{len(found)} things are in the way: {' '.join(told)}")

"""Every kind of input by name."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence

from tests.fuzz import kinds_arrays, kinds_artifact, kinds_commands, kinds_converters, kinds_onnx, kinds_text
from tests.fuzz.kind import Kind

_FAMILIES = (kinds_onnx, kinds_text, kinds_arrays, kinds_converters, kinds_artifact, kinds_commands)


@functools.cache
def all_kinds() -> Mapping[str, Kind]:
    """The kinds, in order."""
    return {kind.name: kind for family in _FAMILIES for kind in family.KINDS}


def cases(names: Sequence[str], count: int) -> Iterator[str]:
    """`count` cases of these kinds by their shares, `kind/number`, each kind's together."""
    kinds = [all_kinds()[name] for name in names]
    total = sum(kind.share for kind in kinds)
    for kind in kinds:
        for number in range(-(-count * kind.share // total)):
            yield f"{kind.name}/{number}"

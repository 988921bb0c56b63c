"""What the manifest of an artifact for HTP says of its proof, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mdcompiler.backend import Proof
from mdcompiler.names import block_of


def block_proof(facts: Mapping[str, Any]) -> Proof | None:
    """The largest difference of each block, and the largest share, over the Hexagon versions in the binary.

    facts: as `emit` wrote them, from a file, so odd rows are passed over; None where nothing is left.
    """
    steps: dict[str, int] = {}
    shares = [0.0]
    for _, version in _rows(facts.get("emulated")):
        shares.append(_number(version.get("share")))
        for name, row in _rows(version.get("kernels")):
            block = block_of(name)
            steps[block] = max(steps.get(block, 0), int(_number(row.get("largest"))))
    return Proof(steps, max(shares)) if steps else None


def _rows(stated: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The entries of `stated` that are mappings themselves."""
    if isinstance(stated, dict):
        yield from ((str(name), row) for name, row in stated.items() if isinstance(row, dict))


def _number(stated: Any) -> float:
    return float(stated) if isinstance(stated, (int, float)) else 0.0

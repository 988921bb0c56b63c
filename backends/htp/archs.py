"""The Hexagon versions that HTP contexts are made for.

QNN takes any number, warns of one that it does not know and writes the binary of V68 for it, so they are checked here.
"""

from __future__ import annotations

from mdcompiler.errors import TargetError
from mdcompiler.target import Target

SOC_MODELS = {68: 30, 69: 36, 73: 43, 75: 57, 79: 69, 81: 87}
"""Version -> QNN's number of a Snapdragon with it: 888, 8 Gen 1, 8 Gen 2, 8 Gen 3, 8 Elite, 8 Elite Gen 5."""


def archs_of(target: Target) -> tuple[int, ...]:
    """The versions that `target` names in `mcpu`, e.g. `hexagonv73` or `hexagonv73,hexagonv75`.

    Raises TargetError for one that QNN has no HTP for.
    """
    words = [word.strip() for word in str(target.llvm.get("mcpu", "")).split(",")]
    found = tuple(_arch(word, target.name) for word in words)
    if len(set(found)) != len(found):
        raise TargetError(
            f"reading target {target.name}: mcpu names a version twice: {', '.join(words)}. Name it once."
        )
    return found


def qnn_options(archs: tuple[int, ...]) -> dict[str, str]:
    """What QNN is told; several versions give one binary with a part for each."""
    return {
        "htp_arch": ",".join(map(str, archs)),
        "soc_model": ",".join(str(SOC_MODELS[arch]) for arch in archs),
    }


def _arch(word: str, target: str) -> int:
    known = {f"hexagonv{arch}": arch for arch in SOC_MODELS}
    if word not in known:
        raise TargetError(
            f"reading target {target}: mcpu is {word!r}; HTP contexts are made for {', '.join(known)}, several of them "
            "with commas between. Older Hexagons have no HTP: `hexagon-v66` compiles for their vector unit."
        )
    return known[word]

"""Several convolutions as one: a strip of rows runs through all of them before the next strip starts.

What lies between the convolutions of a block (the expanded tensor, 4-8 times the channels) then is a few
rows that stay in the cache instead of a picture: layer fusion (M. Alwani et al., "Fused-Layer CNN
Accelerators", 2016), which also cuts peak memory (J. Lin et al., "MCUNetV2", 2021). Rows that the next strip
needs again slide to the start of their strip, so that one thread computes nothing twice; a share of another
thread begins with its own.

This works on the calls of a `Program`: the kernels are the same templates over shorter planes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mdcompiler.backends.clib.program import Program
from mdcompiler.backends.clib.strip_call import Link, StripCall
from mdcompiler.backends.clib.strip_chain import Chain, StripSource, chains, row_bytes

_ALIGNMENT_BYTES = 64

ChooseRows = Callable[[Chain], int]
"""Output rows of a strip, or 0: do not fuse."""


def fuse_strips(program: Program, choose: ChooseRows) -> list[str]:
    """Replace chains of calls by calls over strips where `choose` wants it; returns the names of those chains."""
    fused = []
    for chain in chains(program):
        rows = choose(chain)
        if rows:
            _replace(program, chain, rows)
            fused.append(chain.name)
    return fused


def _replace(program: Program, chain: Chain, strip_rows: int) -> None:
    """Put one call over strips where the chain's calls are."""
    kept = chain.kept_rows(strip_rows)
    sources = [
        source.strip(before, after) for source, before, after in zip(chain.sources, [0, *kept], [*kept, 0], strict=True)
    ]
    links, scratch_bytes = _links(chain, sources, kept)
    scratch = program.buffer(f"{chain.name}:strips", scratch_bytes)
    reads = [chain.calls[0].reads[0], *(name for call in chain.calls for name in call.reads[1:])]
    call = StripCall(
        kernel=chain.name,
        code="",
        reads=tuple(reads),
        writes=chain.calls[-1].writes,
        tasks=-(-chain.rows // strip_rows),
        scratch=scratch,
        links=links,
        strip_rows=strip_rows,
        shares=1,
    )
    start = program.steps.index(chain.calls[0])
    program.steps[start : start + len(chain.calls)] = [call]
    for old, source in zip(chain.calls, sources, strict=True):
        program.declare(source, len(old.reads) + len(old.writes))
    for old in chain.calls[:-1]:
        del program.sizes[old.writes[0]]
    program.forget_unused_functions()


def _links(chain: Chain, sources: Sequence[StripSource], kept: Sequence[int]) -> tuple[tuple[Link, ...], int]:
    """The links of a chain, and the bytes that all strips together take."""
    links, offset, place = [], 0, 1
    for index, source in enumerate(sources):
        places = range(place, place + len(chain.calls[index].reads) - 1)
        rows = kept[index] if index < len(kept) else 0
        links.append(Link(source.symbol, tuple(places), source, rows, offset))
        size = source.planes * rows * row_bytes(source)
        offset += -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        place = places.stop
    return tuple(links), offset

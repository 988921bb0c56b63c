"""What lies in VTCM, the memory beside the vector unit, and what stays in L2 and beyond.

    weights       strips of output channels are copied in, a strip before the calls that read it again for every tile
    activations   those that only vectors touch stay there from the call that makes them to the last that reads them
    all else      where it was: what the scalar unit reads gains more from the L1 cache, what is read once from neither

Most bytes moved for each byte of room come first. The generated C asks for the room when a context is made
(`model_near_acquire`); where there is none, strips are not copied and everything lies in plain memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mdcompiler.backends.clib.c_source import Source
from mdcompiler.backends.clib.plan import Plan, plan_arena
from mdcompiler.backends.clib.program import Call, Program, View
from mdcompiler.backends.hexagon.sources import HvxConvolutionSource
from mdcompiler.backends.hexagon.traffic import operands, set_bytes, tiles_of_set

_WEIGHT = 1
"""Place of the weights among a convolution's operands."""
_LEAST_READS = 4
"""A strip is read and written once for the copy: weights that are read less often stay where they are."""


@dataclass(frozen=True)
class Strip:
    """A part of a convolution's weights: sets [first, first + count) of output channels."""

    first: int
    count: int


@dataclass(frozen=True)
class StripCopy(Call):
    """Copies a strip of size_bytes to where the calls behind it read it, if there is VTCM."""

    size_bytes: int = 0


@dataclass(frozen=True)
class StripCall(Call):
    """A convolution over one strip of its weights, which is the last of its reads."""


def stage_weights(program: Program, capacity_bytes: int) -> None:
    """Cut the convolutions whose weights are read often into strips, each with a copy before.

    Strips take half of the capacity, so that activations find room, or one set of output channels.
    """
    steps: list[Call | View] = []
    for step in program.steps:
        if isinstance(step, Call) and isinstance(step.function, HvxConvolutionSource):
            steps += _staged(program, step, step.function, capacity_bytes)
        else:
            steps.append(step)
    program.steps[:] = steps


def _staged(program: Program, call: Call, function: HvxConvolutionSource, capacity_bytes: int) -> list[Call]:
    size = set_bytes(function)
    if size > capacity_bytes or tiles_of_set(function) < _LEAST_READS:
        return [call]
    strips = _strips(function.work.out_blocks // function.tile.groups, max(1, capacity_bytes // 2 // size))
    buffer = program.buffer(f"{call.writes[0]}:strip", strips[0].count * size)
    calls: list[Call] = []
    for strip in strips:
        copy = f"f->is_near ? mdc_copy({{1}}, {{0}} + {strip.first * size}, {strip.count * size}) : 0"
        calls.append(StripCopy(call.kernel, copy, (call.reads[_WEIGHT],), (buffer,), size_bytes=strip.count * size))
        calls.append(_over_strip(call, function, strip, buffer))
    return calls


def _strips(sets: int, most: int) -> list[Strip]:
    """As few as possible, and then as even as possible; the first is the largest."""
    count = -(-sets // -(-sets // most))
    return [Strip(first, min(count, sets - first)) for first in range(0, sets, count)]


def _over_strip(call: Call, function: HvxConvolutionSource, strip: Strip, buffer: str) -> StripCall:
    """The iterations of `call` that read one strip; its weights' pointer is moved so that indices stay the same."""
    rows, place = function.work.out[0], len(call.reads)
    pointers = [f"{{{i}}}" for i in range(place)]
    pointers[_WEIGHT] = f"STAGED({{{place}}} - {strip.first * set_bytes(function)}, {{{_WEIGHT}}})"
    task = strip.first * rows
    code = f"{function.symbol}({', '.join(pointers)}, {{{place + 1}}}, begin + {task}, end + {task})"
    return StripCall(**{**vars(call), "code": code, "reads": (*call.reads, buffer), "tasks": strip.count * rows})


@dataclass(frozen=True)
class BlockMemory:
    """Where one block's data lies. near: buffer -> its bytes in VTCM; some take the room of others after them, so that
    all together cover kept_bytes. strips: how often weights are copied in.

    Bytes moved in one run: staged_bytes into VTCM; near_bytes between VTCM and the vector unit; far_bytes between it
    and L2 or beyond; scalar_bytes by the scalar unit, through L1.
    """

    block: str
    near: Mapping[str, int]
    kept_bytes: int
    strips: int
    staged_bytes: int
    near_bytes: int
    far_bytes: int
    scalar_bytes: int

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**vars(self), "near": dict(self.near)}


def plan_vtcm(source: Source, capacity_bytes: int) -> Source:
    """The same program with a memory plan whose first bytes, at most `capacity_bytes`, are meant for VTCM."""
    sizes = {name: source.program.sizes[name] for name in source.plan.offsets}
    chosen: dict[str, int] = {}
    plan = Plan({}, 0, 0)
    for name in _candidates(source):
        wider = plan_arena(source.calls, {**chosen, name: sizes[name]}, source.aliases, source.alignment_bytes)
        if wider.arena_bytes <= capacity_bytes:
            chosen[name], plan = sizes[name], wider
    others = {name: size for name, size in sizes.items() if name not in chosen}
    rest = plan_arena(source.calls, others, source.aliases, source.alignment_bytes)
    start = plan.arena_bytes
    joined = Plan(
        offsets={**plan.offsets, **{name: start + offset for name, offset in rest.offsets.items()}},
        arena_bytes=start + rest.arena_bytes,
        lower_bound_bytes=plan.lower_bound_bytes + rest.lower_bound_bytes,
    )
    return replace(source, plan=joined, near_bytes=start)


def _candidates(source: Source) -> list[str]:
    """Strips, of which one is there at a time, and buffers that no scalar instruction and no caller touches, those
    with the most bytes moved for their size first.
    """
    moved: dict[str, int] = dict.fromkeys(source.plan.offsets, 0)
    by_scalars: set[str] = set()
    for call in source.calls:
        for name, count, by_vectors in _moved(call, source):
            root = source.aliases.place(name)[0]
            if root in moved:
                moved[root] += count
                by_scalars |= set() if by_vectors else {root}
    sizes, strips = source.program.sizes, {call.reads[-1] for call in source.calls if isinstance(call, StripCall)}
    found = [name for name, count in moved.items() if count and name not in by_scalars]
    return sorted(found, key=lambda name: (name not in strips, -moved[name] / sizes[name], name))


def _moved(call: Call, source: Source) -> list[tuple[str, int, bool]]:
    """Name, bytes and whether by vectors, of each operand; staged weights are read from their strip. What copies move
    is counted apart."""
    sizes = _all_sizes(source)
    if isinstance(call, StripCopy):
        return []
    if not isinstance(call, StripCall):
        return [(item.name, item.bytes, item.by_vectors) for item in operands(call, sizes)]
    plain = replace(call, reads=call.reads[:-1])
    weight, strip = call.reads[_WEIGHT], call.reads[-1]
    return [
        (strip if item.name == weight else item.name, item.bytes, item.by_vectors) for item in operands(plain, sizes)
    ]


def _all_sizes(source: Source) -> dict[str, int]:
    constants = {name: values.nbytes for name, values in source.program.constants.items()}
    ends = {tensor.name: tensor.count for tensor in source.tensors}
    return {**constants, **ends, **source.program.sizes}


def memory_by_block(source: Source, blocks: Mapping[str, str]) -> list[BlockMemory]:
    """Where each block's data lies and what it moves. blocks: kernel -> block."""
    rows: dict[str, list[Call]] = {}
    for call in source.calls:
        rows.setdefault(blocks.get(call.kernel, call.kernel), []).append(call)
    return [_block(name, calls, source) for name, calls in rows.items()]


def _block(name: str, calls: Sequence[Call], source: Source) -> BlockMemory:
    near: dict[str, int] = {}
    moved = {"near": 0, "far": 0, "scalar": 0}
    copies = [call for call in calls if isinstance(call, StripCopy)]
    for call in calls:
        for operand, count, by_vectors in _moved(call, source):
            root = source.aliases.place(operand)[0]
            is_near = source.plan.offsets.get(root, source.near_bytes) < source.near_bytes
            near |= {root: source.program.sizes[root]} if is_near else {}
            moved["near" if is_near else "far" if by_vectors else "scalar"] += count
    staged = sum(call.size_bytes for call in copies)
    kept = _covered([(source.plan.offsets[root], size) for root, size in near.items()])
    return BlockMemory(name, near, kept, len(copies), staged, moved["near"], moved["far"], moved["scalar"])


def _covered(parts: Sequence[tuple[int, int]]) -> int:
    """Bytes that parts (start, size) cover together."""
    total = end = 0
    for start, size in sorted(parts):
        total += max(0, start + size - max(start, end))
        end = max(end, start + size)
    return total

"""A program divided between the GPU and its host: what is launched, what is copied, what the host does afterwards.

The device keeps all its buffers in one arena, the network's inputs and results among them. Post-processing is a call
of the same C function as on every other target, so it comes last, on the host: it reads what was copied back into
pinned memory and writes to the caller's arrays.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mdcompiler.backends.clib.alias import Aliases, share_memory
from mdcompiler.backends.clib.plan import Plan, plan_arena
from mdcompiler.backends.clib.program import Call, Program
from mdcompiler.errors import InternalError

_COPY = re.compile(r"mdc_copy\(\{1\}(?: \+ (\d+))?, \{0\}(?: \+ (\d+))?, (\d+)\)")
"""What `share_memory` writes where two buffers cannot share memory."""


@dataclass(frozen=True)
class DeviceCopy:
    """On the device. offsets: bytes from the start of each buffer."""

    kernel: str
    source: str
    source_offset: int
    target: str
    target_offset: int
    size_bytes: int


@dataclass(frozen=True)
class DeviceProgram:
    """steps: on the device, in order. host: calls afterwards. uploads, downloads: buffers copied before and after.

    plan: of the device's arena. pinned: buffer -> offset in pinned memory, of everything that is copied; sizes: bytes
    of every buffer that owns memory. host_offsets: buffers that the host alone uses.
    """

    program: Program
    steps: Sequence[Call | DeviceCopy]
    host: Sequence[Call]
    aliases: Aliases
    plan: Plan
    sizes: dict[str, int]
    uploads: Sequence[str]
    downloads: Sequence[str]
    pinned: dict[str, int]
    pinned_bytes: int
    host_offsets: dict[str, int]
    host_bytes: int


def divide(program: Program, ends: dict[str, int], alignment_bytes: int) -> DeviceProgram:
    """Divide `program`. ends: bytes of its inputs and outputs. Raises InternalError when the host would come first."""
    aliases, calls = share_memory(program)
    sizes = {**program.sizes, **ends}
    device = [step for call in calls if (step := _device_step(call)) is not None]
    host = calls[len(device) :]
    _check_order(calls, host)
    uploads, downloads = list(program.inputs), _downloads(program, aliases, device, host)
    pinned, pinned_bytes = _in_a_row([*uploads, *downloads], sizes, alignment_bytes)
    made_by_host = {aliases.place(name)[0] for call in host for name in call.writes}
    own = [name for name in sizes if name in made_by_host and name not in program.outputs]
    host_offsets, host_bytes = _in_a_row(own, sizes, alignment_bytes)
    return DeviceProgram(
        program=program,
        steps=device,
        host=host,
        aliases=aliases,
        plan=plan_arena(_timeline(device, uploads, downloads), sizes, aliases, alignment_bytes),
        sizes=sizes,
        uploads=uploads,
        downloads=downloads,
        pinned=pinned,
        pinned_bytes=pinned_bytes,
        host_offsets=host_offsets,
        host_bytes=host_bytes,
    )


def _downloads(
    program: Program, aliases: Aliases, device: Sequence[Call | DeviceCopy], host: Sequence[Call]
) -> list[str]:
    """What the host reads of what is on the device: for its own calls, and as results."""
    there = {aliases.place(name)[0] for step in device for name in _ends(step)[1]} | set(program.inputs)
    wanted = [aliases.place(name)[0] for call in host for name in call.reads] + list(program.outputs)
    return [name for name in dict.fromkeys(wanted) if name in there]


def _device_step(call: Call) -> Call | DeviceCopy | None:
    """What a call is on the device; None for one of the host."""
    if call.function is not None:
        return call
    found = _COPY.fullmatch(call.code)
    if found is None:
        return None
    target_offset, source_offset, size = (int(text or 0) for text in found.groups())
    return DeviceCopy(call.kernel, call.reads[0], source_offset, call.writes[0], target_offset, size)


def _check_order(calls: Sequence[Call], host: Sequence[Call]) -> None:
    """Raise InternalError unless `host`, the last of `calls`, are all those of the host."""
    early = [call.kernel for call in calls[: len(calls) - len(host)] if _device_step(call) is None]
    if early:
        raise InternalError(
            f"the host's calls ({', '.join(early)}) must come after all launches, for the device cannot wait."
        )


def _ends(step: Call | DeviceCopy) -> tuple[Sequence[str], Sequence[str]]:
    """What a step reads, and what it writes."""
    return (step.reads, step.writes) if isinstance(step, Call) else ((step.source,), (step.target,))


def _timeline(steps: Sequence[Call | DeviceCopy], uploads: Sequence[str], downloads: Sequence[str]) -> list[Call]:
    """The life of every buffer of the arena, as calls: inputs arrive first, results are fetched last."""
    calls = [Call(step.kernel, "", tuple(_ends(step)[0]), tuple(_ends(step)[1])) for step in steps]
    return [Call("upload", "", (), tuple(uploads)), *calls, Call("download", "", tuple(downloads), ())]


def _in_a_row(names: Sequence[str], sizes: dict[str, int], alignment_bytes: int) -> tuple[dict[str, int], int]:
    """Buffers one after the other: their offsets, and all their bytes."""
    offsets, end = {}, 0
    for name in dict.fromkeys(names):
        offsets[name] = end
        end += -(-sizes[name] // alignment_bytes) * alignment_bytes
    return offsets, end

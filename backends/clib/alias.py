"""Which buffers share memory: reshapes, concatenations, and kernels that work in place.

Every buffer gets a root and an offset in it. Going backwards through the program, what a step makes is
settled before what it is made of, so that a whole chain (reshape, concat, sigmoid in place, output of
the network) ends in the caller's own memory and nothing is copied. What cannot share is copied by an
explicit call.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import networkx as nx

from mdcompiler.backends.clib.program import Call, Program, View


@dataclass
class Aliases:
    """root: buffer -> (the buffer whose memory it uses, byte offset there)."""

    root: dict[str, tuple[str, int]] = field(default_factory=dict)

    def place(self, name: str) -> tuple[str, int]:
        """The buffer that owns the memory of `name`, and where in it `name` starts."""
        offset = 0
        while name in self.root:
            name, step = self.root[name]
            offset += step
        return name, offset


def share_memory(program: Program) -> tuple[Aliases, list[Call]]:
    """Settle who shares memory with whom; returns that and the calls, with copies where sharing failed."""
    sharing = _Sharing(program)
    calls: list[Call] = []
    for index in range(len(program.steps) - 1, -1, -1):
        step = program.steps[index]
        if isinstance(step, View):
            if not sharing.view(step):
                calls.append(_copy(step))
        else:
            sharing.in_place(step, index)
            calls.append(step)
    return sharing.aliases, calls[::-1]


class _Sharing:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.aliases = Aliases()
        self.family = _families(program)
        self.last_read = _last_reads(program, self.family)

    def view(self, view: View) -> bool:
        """Let one buffer of a view lie in the memory of the other; the older one moves if it can."""
        if not view.part_is_new:
            return self._join(view.part, view.whole, view.offset_bytes)
        if view.offset_bytes == 0 and self._join(view.whole, view.part, 0):
            return True
        return self._join(view.part, view.whole, view.offset_bytes)

    def in_place(self, call: Call, index: int) -> None:
        """Let the input of an elementwise call lie where its output does, when nothing reads it later.

        Reshapes and parts of the input may share its memory, so they count as well.
        """
        if not call.in_place:
            return
        source, target = call.reads[0], call.writes[0]
        sizes = self.program.sizes
        same_size = target not in sizes or sizes[target] == sizes.get(source)
        if same_size and self.last_read.get(self.family.get(source, source)) == index:
            self._join(source, target, 0)

    def _join(self, name: str, into: str, offset: int) -> bool:
        """Only memory of our own that has no other home yet can move into another buffer."""
        own = name in self.program.sizes and name not in self.program.inputs and name not in self.program.outputs
        if not own or name in self.aliases.root or self.aliases.place(into)[0] == name:
            return False
        self.aliases.root[name] = (into, offset)
        return True


def _families(program: Program) -> dict[str, str]:
    """Buffer -> a name for all buffers that views connect it with."""
    links: nx.Graph[str] = nx.Graph()
    links.add_edges_from((step.part, step.whole) for step in program.steps if isinstance(step, View))
    return {name: min(family) for family in nx.connected_components(links) for name in family}


def _last_reads(program: Program, family: dict[str, str]) -> dict[str, int]:
    """Family -> the last step that reads one of its buffers; outputs are read after the end."""
    last: dict[str, int] = {}
    for index, step in enumerate(program.steps):
        if isinstance(step, Call):
            last.update({family.get(name, name): index for name in step.reads})
    last.update({family.get(name, name): len(program.steps) for name in program.outputs})
    return last


def _copy(view: View) -> Call:
    if view.part_is_new:
        return Call(
            view.kernel, f"mdc_copy({{1}}, {{0}} + {view.offset_bytes}, {view.size_bytes})", (view.whole,), (view.part,)
        )
    return Call(
        view.kernel, f"mdc_copy({{1}} + {view.offset_bytes}, {{0}}, {view.size_bytes})", (view.part,), (view.whole,)
    )

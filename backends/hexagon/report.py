"""Packets of a compiled network by block: `python -m mdcompiler.backends.hexagon.report ARTIFACT [--json]`

A packet multiplies at most 2 x 128 bytes: two `vrmpy`, each four products in 32 lanes. So the limit is

    packets >= multiply-adds / 256        (PACKET_MACS = 2 instructions x 32 lanes x 4 bytes)

and the table says how near to it each block and the network are. A real processor adds what it waits for memory, and
gains by its other threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mdcompiler.artifact import Artifact, open_artifact
from mdcompiler.backends.hexagon import machine
from mdcompiler.backends.hexagon.backend import PROGRAM
from mdcompiler.errors import InternalError, MdcError
from mdcompiler.scratch import scratch_folder

PACKET_MACS = 256
"""Multiply-adds of one packet of two `vrmpy`: 2 x 32 lanes x 4 bytes."""
FORMULA = "packets >= multiply-adds / 256: two vrmpy a packet, each 32 lanes x 4 bytes"
_COUNTERS = ("packets", "instructions", "vectors")
_SECONDS = 3600


@dataclass(frozen=True)
class BlockCount:
    """What one block executes. vectors: HVX instructions."""

    block: str
    macs: int
    packets: int
    instructions: int
    vectors: int

    @property
    def macs_per_packet(self) -> float:
        return self.macs / max(self.packets, 1)

    @property
    def hvx_share(self) -> float:
        """HVX instructions among all."""
        return self.vectors / max(self.instructions, 1)

    @property
    def limit_packets(self) -> int:
        """Packets that no program for these multiply-adds stays below."""
        return -(-self.macs // PACKET_MACS)

    @property
    def limit_share(self) -> float:
        """1 when every packet holds two `vrmpy`."""
        return self.macs_per_packet / PACKET_MACS

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the counts and what follows from them."""
        return {
            **vars(self),
            "hvx_share": round(self.hvx_share, 4),
            "macs_per_packet": round(self.macs_per_packet, 2),
            "limit_packets": self.limit_packets,
            "limit_share": round(self.limit_share, 4),
        }


def count_blocks(artifact: Artifact) -> list[BlockCount]:
    """Counts of every block, in order. Raises MissingToolError without QEMU."""
    counts = {counter: _count(artifact, counter) for counter in _COUNTERS}
    blocks: dict[str, list[int]] = {}
    for kernel in artifact.manifest.kernels:
        row = blocks.setdefault(kernel.block or kernel.name, [0] * (1 + len(_COUNTERS)))
        found = [kernel.macs, *(counts[counter].get(kernel.name, 0) for counter in _COUNTERS)]
        row[:] = [old + new for old, new in zip(row, found, strict=True)]
    return [BlockCount(name, *row) for name, row in blocks.items()]


def count_packets(artifact: Artifact) -> dict[str, int]:
    """Block -> packets, in order, in one run. Raises MissingToolError without QEMU."""
    counts, blocks = _count(artifact, "packets"), dict[str, int]()
    for kernel in artifact.manifest.kernels:
        block = kernel.block or kernel.name
        blocks[block] = blocks.get(block, 0) + counts.get(kernel.name, 0)
    return blocks


def whole(rows: Sequence[BlockCount]) -> BlockCount:
    """The sum of all blocks."""
    return BlockCount("all", *(sum(column) for column in zip(*map(_numbers, rows), strict=True)))


def table(rows: Sequence[BlockCount]) -> str:
    """A Markdown table of the blocks and their sum, and the network in one line."""
    total = whole(rows)
    head = "| block | packets | HVX share | MACs | MACs/packet | of the vrmpy limit |\n|---|---|---|---|---|---|"
    summary = (
        f"One inference: {total.packets:,} packets, {total.limit_share:.1%} of the vrmpy limit of "
        f"{total.limit_packets:,} ({FORMULA})."
    )
    return "\n".join([head, *map(_line, (*rows, total)), "", summary])


def as_json(rows: Sequence[BlockCount]) -> str:
    """The same for programs: blocks, network, and the formula of the limit."""
    found = {"limit": FORMULA, "blocks": [row.as_dict() for row in rows], "network": whole(rows).as_dict()}
    return json.dumps(found, indent=1)


def _numbers(row: BlockCount) -> tuple[int, int, int, int]:
    return row.macs, row.packets, row.instructions, row.vectors


def _line(row: BlockCount) -> str:
    return (
        f"| {row.block} | {row.packets:,} | {row.hvx_share:.0%} | {row.macs:,} | {row.macs_per_packet:.1f} | "
        f"{row.limit_share:.0%} |"
    )


def _count(artifact: Artifact, counter: str) -> dict[str, int]:
    """Kernel -> count, of one run on inputs of zeros: no kernel's path depends on them but the detections'."""
    with scratch_folder("report") as folder:
        inputs = []
        for index, item in enumerate(artifact.manifest.inputs):
            path = folder / f"input_{index}"
            path.write_bytes(np.zeros(item.shape, item.dtype).tobytes())
            inputs.append(str(path))
        program = folder / PROGRAM
        program.write_bytes(artifact.read(PROGRAM))
        program.chmod(0o700)
        command = [*machine.launcher(), str(program), "-k", *inputs]
        environment = {**os.environ, "HEXAGON_COUNTER": counter}
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=environment)
    if done.returncode:
        raise InternalError(f"counting {counter}: {PROGRAM} ended with {done.returncode}: {done.stderr[-500:]}")
    return dict(_parsed(line) for line in done.stdout.splitlines() if " us  " in line)


def _parsed(line: str) -> tuple[str, int]:
    """A line of the program's table of times, whose clock counts: a thousand in a microsecond."""
    time, _, name = line.partition(" us  ")
    return name, round(float(time) * 1000)


def main(arguments: Sequence[str]) -> int:
    """Print the table of an artifact, or the same as JSON. Returns the exit status."""
    names = [item for item in arguments if item != "--json"]
    if len(names) != 1:
        print("usage: python -m mdcompiler.backends.hexagon.report ARTIFACT [--json]", file=sys.stderr)
        return 2
    try:
        rows = count_blocks(open_artifact(names[0]))
    except MdcError as error:
        print(f"mdc: {error}", file=sys.stderr)
        return 1
    print(as_json(rows) if "--json" in arguments else table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

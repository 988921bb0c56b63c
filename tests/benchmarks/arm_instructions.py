"""Instructions of the zoo on 64-bit Arm, block by block, counted by QEMU, and those of other runtimes beside them.

    python -m tests.benchmarks.arm_instructions --peers ROOT --tflite FOLDER --write

Counts are the same on every run and every machine. They are no times: latencies, caches and a core's width do not
enter. Outputs are compared with the reference first: float32 within the tolerance, int8 bit for bit. `arm_peers` fills
ROOT; FOLDER has `NETWORK.PRECISION.tflite`. `--write` puts the section into RESULTS.md, with what is
measured already after every network.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import fill

from mdcompiler.backends.arm.instructions import Count, by_block, count_instructions
from tests.benchmarks import arm_peers
from tests.benchmarks.agreement import check_ours
from tests.benchmarks.peer_models import UnavailableError
from tests.benchmarks.report import RESULTS, replace_section
from tests.benchmarks.subjects import PRECISIONS, Subject, prepare, zoo_spec

TITLE = "## Instructions on 64-bit Arm"
NETWORKS = ("mobiledet-cpu", "mobiledet-edgetpu", "mobiledet-dsp", "mobiledet-gpu")
_MATRICES = "neoverse-v1"
"""The target whose byte matrix products are counted beside the first target's dot products, in int8."""
_WIDTH = 140
_MILLION = 1e6


@dataclass(frozen=True)
class Row:
    """One network. blocks: ours; matrices: the total with byte matrix products; peers: totals by name, or why not."""

    network: str
    precision: str
    blocks: list[Count]
    matrices: int | None
    peers: dict[str, int | str]

    @property
    def total(self) -> int:
        return sum(block.all for block in self.blocks)

    @property
    def ratio(self) -> float | None:
        """To the peer with the fewest."""
        counted = [found for found in self.peers.values() if isinstance(found, int)]
        return self.total / min(counted) if counted else None


def measure(network: str, precision: str, options: argparse.Namespace) -> Row:
    """Compile, check, count; then the peers. Raises SystemExit where ours is not the reference's."""
    with TemporaryDirectory(prefix="mdc-arm-") as name:
        subject = counted(network, precision, options.target, options.size, Path(name) / "ours")
        blocks = by_block(count_instructions(subject.artifact))
        peers = dict(_peers(subject, Path(name), options))
        matrices = None
        if precision == "int8" and options.matrices:
            other = counted(network, precision, _MATRICES, options.size, Path(name) / "matrices")
            matrices = sum(row.all for row in count_instructions(other.artifact))
        return Row(network, precision, blocks, matrices, peers)


def counted(network: str, precision: str, target: str, size: int | None, folder: Path) -> Subject:
    """A network that gave the reference's outputs in QEMU."""
    folder.mkdir()
    subject = prepare(zoo_spec(network, size), precision, folder, target)
    with subject.artifact.load(1) as detector:
        check_ours(subject, detector.run({"image": subject.image}))
    return subject


def _peers(subject: Subject, folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, int | str]]:
    for runtime in options.runtimes if options.peers else ():
        place = folder / runtime
        place.mkdir()
        try:
            instructions, difference = arm_peers.count(runtime, subject, options.peers, place, options.tflite)
        except UnavailableError as reason:
            yield runtime, str(reason)
            continue
        note(f"{subject.network} {subject.precision} {runtime}: {instructions:,}; {difference}")
        yield runtime, instructions


def totals_table(rows: Sequence[Row]) -> str:
    """Millions of instructions of a run, a line for each network and precision."""
    names = [name for name in arm_peers.RUNTIMES if any(name in row.peers for row in rows)]
    lines = [_line(["network", "precision", "ours", "with matrix products", *names, "ratio to the fewest"])]
    lines.append("|" + "---|" * (5 + len(names)))
    for row in rows:
        matrices = "" if row.matrices is None else _millions(row.matrices)
        peers = [_millions(found) if isinstance(found := row.peers.get(name), int) else "" for name in names]
        ratio = "" if row.ratio is None else f"**{row.ratio:.2f}**"
        lines.append(_line([row.network, row.precision, _millions(row.total), matrices, *peers, ratio]))
    return "\n".join(lines)


def block_table(row: Row) -> str:
    """Ours by block, in millions, with the shares that multiply and add, and that load or store."""
    lines = [_line(["block", "instructions", "multiply-adds", "loads and stores"]), "|---|---|---|---|"]
    for block in row.blocks:
        shares = (f"{part / max(1, block.all):.0%}" for part in (block.multiply, block.memory))
        lines.append(_line([block.name, _millions(block.all), *shares]))
    return "\n".join(lines)


def body(rows: Sequence[Row], options: argparse.Namespace) -> str:
    """The section under TITLE."""
    names = [("ncnn", "ncnn"), ("onnxruntime", "onnxruntime"), ("ai-edge-litert", "litert")]
    versions = ", ".join(
        f"{package} {arm_peers.version_in(options.peers, package)}" for package, name in names if name in rows[0].peers
    )
    text = (
        f"{datetime.now(timezone.utc):%Y-%m-%d}, target {options.target}, QEMU's user mode, one thread, seeded "
        "weights, raw outputs. Millions of instructions of one run, by `python -m tests.benchmarks.arm_instructions`; "
        "ours are the same on every run, and no times. Float outputs are within the tolerance, int8 outputs equal the "
        f'integer reference bit for bit. "With matrix products" is {_MATRICES}.'
    )
    peers = (
        f"Peers are the aarch64 wheels ({versions}) in the same QEMU, their second run, which repeats within 0.1 %. "
        "ONNX Runtime gets our quantized graph; LiteRT a .tflite of the same float network that a converter quantized."
    )
    parts = [fill(text, _WIDTH), *([fill(peers, _WIDTH)] if versions else []), totals_table(rows), *_refusals(rows)]
    for row in rows:
        parts += [f"{row.network}, {row.precision}:", block_table(row)]
    return "\n\n".join(parts)


def _refusals(rows: Sequence[Row]) -> list[str]:
    found = dict.fromkeys(
        f"- {name}, {row.precision}: {reason}"
        for row in rows
        for name, reason in row.peers.items()
        if isinstance(reason, str)
    )
    return ["Not counted:", "\n".join(found)] if found else []


def _millions(count: int) -> str:
    return f"{count / _MILLION:.2f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def note(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr, flush=True)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("networks", nargs="*", default=list(NETWORKS), help="names from the zoo")
    made.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    made.add_argument("--target", default="cortex-a76")
    made.add_argument("--size", type=int, help="pixels of the square picture instead of the spec's")
    made.add_argument("--no-matrices", dest="matrices", action="store_false", help=f"leave out {_MATRICES}")
    made.add_argument("--peers", type=Path, help="folder that tests.benchmarks.arm_peers filled")
    made.add_argument("--runtimes", nargs="+", choices=arm_peers.RUNTIMES, default=list(arm_peers.RUNTIMES))
    made.add_argument("--tflite", type=Path, help="folder with NETWORK.PRECISION.tflite for litert")
    made.add_argument("--write", action="store_true", help="the section into RESULTS.md")
    return made


def main() -> None:
    options = parser().parse_args()
    rows = []
    for network in options.networks:
        for precision in options.precision:
            rows.append(measure(network, precision, options))
            note(f"{network} {precision}: {rows[-1].total:,}")
            if options.write:
                RESULTS.write_text(replace_section(RESULTS.read_text(), TITLE, body(rows, options)))
    print(body(rows, options))


if __name__ == "__main__":
    main()

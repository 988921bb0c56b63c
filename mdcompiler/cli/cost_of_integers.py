"""What quantization cost, for people: from the record that the manifest holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mdcompiler.cli.console import print_table

Record = Mapping[str, Any]


def cost_lines(record: Any) -> Iterator[str]:
    """One line about the loss, one about the blocks that are not int8, one for every limit that is passed."""
    if not isinstance(record, Mapping):
        return
    worst = min(record["ends_db"].values(), default=0.0)
    lost = record["map_lost"]
    points = "" if lost is None else f", mAP {record['map_points']:.2f}, {lost:.2f} points below float"
    yield f"int8: signal-to-noise of the worst output {worst:.1f} dB on {record['samples']} samples{points}"
    chosen = record["precision"]
    if chosen:
        names = ", ".join(f"{block} {precision}" for block, precision in chosen.items())
        yield f"not int8: {names}; {record['share_outside_int8']:.1%} of the multiply-adds"
    if record["degraded"]:
        from mdcompiler.accuracy.gates import Fault

        yield from (f"degraded: {Fault(**fault)}" for fault in record["degraded"])


def print_sensitivity(title: str, record: Record) -> None:
    """The table of what each block costs by itself, all blocks together first."""
    columns = ("block alone", "SNR of the outputs, dB", "detections lost", "anchors changed", "box shift, px")
    keys = ("lost_share", "changed_share", "box_error_px")
    worst = min(record["ends_db"].values(), default=0.0)
    whole = ("all blocks", worst, *(record[key] for key in keys))
    rows = [(row["block"], row["snr_db"], *(row[key] for key in keys)) for row in record["sensitivity"]]
    print_table(f"{title}: cost of integers on {record['samples']} samples", columns, [whole, *rows])


def print_gains(record: Record) -> None:
    """Signal-to-noise before every method and after it: of the outputs, then of every block."""
    gains = record["gains"]
    if not gains:
        return
    columns = ("signal-to-noise, dB", "no method", *(f"+ {item['method']}" for item in gains))
    rows = [_row(name, [item["ends_db"] for item in gains]) for name in gains[0]["ends_db"]]
    rows += [_row(name, [item["blocks_db"] for item in gains]) for name in gains[0]["blocks_db"]]
    spent = ("seconds", None, *(item["seconds"] for item in gains))
    print_table("What each method gained, int8 everywhere", columns, [*rows, spent])


def _row(name: str, steps: list[Mapping[str, list[float]]]) -> tuple[str | float, ...]:
    return (name, float(steps[0][name][0]), *(float(step[name][1]) for step in steps))

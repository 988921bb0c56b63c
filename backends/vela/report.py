"""Vela's two csv reports as rows of ours: estimates for every layer and for the whole network.

Vela names a layer by the tensor that it makes, and those names are ours, so each layer finds its kernel and block.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from mdcompiler.errors import UnsupportedError
from mdcompiler.names import block_of

_KIB = 1024
Row = TypeVar("Row")


@dataclass(frozen=True)
class LayerEstimate:
    """One layer. kernel: ours. operator: Vela's word. on_npu: else the host runs it. utilization: of its MAC units."""

    kernel: str
    operator: str
    on_npu: bool
    cycles: int
    macs: int
    utilization: float


@dataclass(frozen=True)
class NetworkEstimate:
    """The whole network. clock_hz: of the system that Vela assumes. latency_us: of one inference."""

    accelerator: str
    system: str
    clock_hz: float
    latency_us: float
    cycles: int
    macs: int
    sram_bytes: int
    flash_bytes: int


def read_layers(text: str, owners: Mapping[str, str]) -> tuple[LayerEstimate, ...]:
    """The rows of `*_per-layer.csv`. owners: tensor of the file -> kernel.

    Raises UnsupportedError when the report is none that is known.
    """
    return tuple(_checked(_layer, row, owners) for row in _rows(text))


def read_summary(text: str) -> NetworkEstimate:
    """The one row of `*_summary_*.csv`. Raises UnsupportedError when the report is none that is known."""
    rows = _rows(text)
    if len(rows) != 1:
        raise _unknown(f"a summary of {len(rows)} rows")
    return _checked(_network, rows[0])


def as_facts(network: NetworkEstimate, layers: tuple[LayerEstimate, ...]) -> dict[str, Any]:
    """Plain values for the manifest."""
    return {"estimate": asdict(network), "layers": [asdict(layer) for layer in layers]}


def block_cycles(facts: Mapping[str, Any]) -> dict[str, int]:
    """Block -> estimated cycles, from what `as_facts` gave. A file from anywhere, so odd rows are passed over."""
    layers, blocks = facts.get("layers"), dict[str, int]()
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, dict) and isinstance(layer.get("cycles"), int):
            block = block_of(str(layer.get("kernel", "")))
            blocks[block] = blocks.get(block, 0) + int(layer["cycles"])
    return blocks


def _layer(row: dict[str, str], owners: Mapping[str, str]) -> LayerEstimate:
    return LayerEstimate(
        kernel=_kernel(row["Name"].strip(), owners),
        operator=row["Original Operator"],
        on_npu=row["Target"] == "NPU",
        cycles=round(float(row["Op Cycles"])),
        macs=round(float(row["MAC Count"])),
        utilization=float(row["Util% (MAC)"]) / 100 if row["Target"] == "NPU" else 0.0,
    )


def _kernel(name: str, owners: Mapping[str, str]) -> str:
    """The kernel that the tensor `name` belongs to; Vela adds to the names of tensors that it puts in between."""
    known = [tensor for tensor in owners if name.startswith(tensor)]
    return owners[max(known, key=len)] if known else name


def _network(row: dict[str, str]) -> NetworkEstimate:
    storage = ("on_chip_flash_memory_used", "off_chip_flash_memory_used", "dram_memory_used")
    return NetworkEstimate(
        accelerator=row["accelerator_configuration"],
        system=row["system_config"],
        clock_hz=float(row["core_clock"]),
        latency_us=float(row["inference_time"]) * 1e6,
        cycles=round(float(row["cycles_total"])),
        macs=round(float(row["nn_macs"])),
        sram_bytes=round(float(row["sram_memory_used"]) * _KIB),
        flash_bytes=round(sum(float(row[name]) for name in storage) * _KIB),
    )


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def _checked(read: Callable[..., Row], *arguments: Any) -> Row:
    try:
        return read(*arguments)
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise _unknown(f"{type(error).__name__}: {error}") from error


def _unknown(what: str) -> UnsupportedError:
    return UnsupportedError(
        f"reading Vela's report: {what} is not what versions 5.x write. Install a tested one: "
        "pip install mdcompiler[vela] -c constraints.txt"
    )

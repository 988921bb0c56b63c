"""Chips as data: what is known of an accelerator, every number with where it comes from.

Those in `chips/` ship; any path to a `.yaml` file works in their place.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mdcompiler.data_file import NamedData, find_data, shipped_data
from mdcompiler.errors import TargetError

_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
Precision = Literal["fp32", "fp16", "int8"]


class Figure(BaseModel):
    """A number and its source.

    kind: published (read at the source), derived (computed from published ones), recalled (a published
    number that was not looked up again), assumed (nothing is published; what it was taken from).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Annotated[float, Field(gt=0, lt=1e15, allow_inf_nan=False)]
    kind: Literal["published", "derived", "recalled", "assumed"]
    source: str = Field(min_length=1)


class Peaks(BaseModel):
    """Peak speed in 10^9 multiply-adds a second: of full and 1×1 convolutions, and of depthwise ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    matrix_gmacs: Figure
    vector_gmacs: Figure


class Chip(NamedData):
    """One accelerator.

    family: chips of one family borrow from one another's calibration where one has no measurement.
    targets: names of the targets that compile for it. cores: how many share the peaks.
    depth_multiple, output_multiple: the products summed (kernel² × input channels) and the output channels of
    a convolution are padded to these. memory_gb_s: of the main memory. on_chip_bytes: tensors that fit there
    cost no main memory on an array; elsewhere it is the last cache.
    link_gb_s: over which an array fetches the weights that do not fit on the chip, every time.
    launch_us: time to start one operation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    description: str = ""
    family: Literal["array", "vector", "gpu", "cpu"]
    targets: tuple[str, ...] = ()
    cores: int = Field(default=1, ge=1, le=1024)
    precisions: dict[Precision, Peaks] = Field(min_length=1)
    depth_multiple: Figure
    output_multiple: Figure
    memory_gb_s: Figure
    on_chip_bytes: Figure
    launch_us: Figure
    link_gb_s: Figure | None = None

    def peaks(self, precision: str) -> Peaks:
        """The peaks in `precision`. Raises TargetError for one that the chip's file does not have."""
        for name, peaks in self.precisions.items():
            if name == precision:
                return peaks
        raise TargetError(
            f"predicting latency on {self.name} in {precision}: its file has {', '.join(self.precisions)}. "
            "Choose one of these, or add the peaks to a chip file of your own."
        )

    @property
    def default_precision(self) -> Precision:
        """The first in the file."""
        return next(iter(self.precisions))

    def figures(self) -> dict[str, Figure]:
        """Every number of the file by the name of its field, e.g. `int8.matrix_gmacs`."""
        plain = ("depth_multiple", "output_multiple", "memory_gb_s", "on_chip_bytes", "launch_us", "link_gb_s")
        found = {
            f"{precision}.{name}": getattr(peaks, name)
            for precision, peaks in self.precisions.items()
            for name in ("matrix_gmacs", "vector_gmacs")
        }
        return found | {name: getattr(self, name) for name in plain if getattr(self, name) is not None}


def element_bytes(precision: str) -> int:
    """Bytes of one number."""
    return _BYTES[precision]


@lru_cache(maxsize=1)
def shipped_chips() -> dict[str, Chip]:
    """The chips that come with the package, by name."""
    return shipped_data("mdcompiler.latency", "chips", "chip", Chip)


def find_chip(name: str) -> Chip:
    """The chip called `name`, or read from the YAML file at that path.

    Raises TargetError for an unknown name, an unreadable file or a bad field.
    """
    return find_data(name, "chip", Chip, shipped_chips)


def chip_of_target(target: str) -> Chip | None:
    """The shipped chip that a target compiles for; None where there is none."""
    return next((chip for chip in shipped_chips().values() if target in chip.targets), None)

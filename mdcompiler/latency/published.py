"""Latencies that others measured and published: columns of networks on one machine, from one source."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mdcompiler.data_file import parse_data_file
from mdcompiler.latency.chip import Precision, find_chip
from mdcompiler.latency.classifiers import classifier_names, classifier_steps
from mdcompiler.latency.roofline import Machine
from mdcompiler.spec import build_network, load_spec
from mdcompiler.spec.steps import Step

_Milliseconds = Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False)]


class Column(BaseModel):
    """One source's milliseconds on one machine.

    cores: how many of the chip's worked. fixed_ms: what is expected in every number beside the network
    (transfers, post-processing): where the calibration starts from, no measurement.
    points: network -> milliseconds; `ssdlite-mobilenet-v2@300` is that network for pictures of 300 pixels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    chip: str
    precision: Precision
    cores: int = Field(default=1, ge=1)
    source: str = Field(min_length=1)
    fixed_ms: _Milliseconds
    points: dict[str, _Milliseconds] = Field(min_length=1)

    @property
    def machine(self) -> Machine:
        return Machine(find_chip(self.chip), self.precision, self.cores)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[Column, ...]


@lru_cache(maxsize=1)
def published_columns() -> dict[str, Column]:
    """The columns by name, in the order of the file."""
    text = (files("mdcompiler.latency") / "published.yaml").read_text(encoding="utf-8")
    table = parse_data_file(text, "published.yaml", "published latencies", _Table)
    return {column.name: column for column in table.columns}


@lru_cache(maxsize=64)
def network_steps(name: str) -> tuple[Step, ...]:
    """The steps of the network that a point is about."""
    plain, _, size = name.partition("@")
    if plain in classifier_names():
        return classifier_steps(plain, int(size))
    spec = load_spec(plain)
    sized = spec.with_(height=int(size), width_px=int(size)) if size else spec
    return tuple(build_network(sized).steps)

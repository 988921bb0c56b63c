"""Every template that has a choice of schedule: one entry makes it tunable, recorded and chosen.

A new template is an entry here and nothing else: its space and its source. Without terms for the cost model
the first schedule of its space is taken where nothing was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as installed
from typing import Any

from mdcompiler.backends.kernels import tile_features as features
from mdcompiler.backends.kernels import winograd
from mdcompiler.backends.kernels.choose_element_tile import element_tiles, element_winograd_tiles, prefers_winograd
from mdcompiler.backends.kernels.choose_integer_tile import integer_tiles, integer_window_tiles
from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.depthwise import Window
from mdcompiler.backends.kernels.depthwise import tasks as window_tasks
from mdcompiler.backends.kernels.integer_convolution import IntegerConvolution
from mdcompiler.backends.kernels.integer_window import IntegerWindow
from mdcompiler.backends.kernels.sources import (
    ConvolutionSource,
    IntegerConvolutionSource,
    IntegerWindowSource,
    WindowSource,
    WinogradPatchesSource,
    WinogradSource,
)
from mdcompiler.backends.kernels.spaces import convolution_tiles, window_tiles, winograd_tiles
from mdcompiler.backends.kernels.winograd import WinogradTile
from mdcompiler.target import Target


@dataclass(frozen=True)
class Template:
    """One way to compute one type of workload.

    version: bumped whenever its loops or its space change, which retires its records. workload: a frozen dataclass.
    space: all schedules, flat frozen dataclasses of ints, bools and words. steps: the functions that a schedule
    calls one after the other, each with its iterations. counts: terms of the cost model, named in `terms`.
    serves: which workloads of the type it can compute. direct: sums its products as they are; what transforms them
    first rounds more.
    """

    name: str
    version: int
    workload: type
    space: Callable[[Any, Target], Sequence[Any]]
    steps: Callable[[Any, Any], Sequence[tuple[Any, int]]]
    counts: Callable[[Any, Any, Target], tuple[float, ...]] | None = None
    terms: tuple[str, ...] = ()
    serves: Callable[[Any], bool] = lambda work: True
    direct: bool = True


def _winograd(work: Convolution, tile: WinogradTile) -> list[tuple[Any, int]]:
    patches = WinogradPatchesSource(work, tile.outputs)
    return [
        (patches, winograd.source_tasks(work, tile.outputs)),
        (WinogradSource(work, tile), winograd.multiply_tasks(work, tile)),
    ]


_ALL = (
    Template(
        "convolution",
        1,
        Convolution,
        convolution_tiles,
        lambda work, tile: [(ConvolutionSource(work, tile), tile.tasks(work.geometry, work.out_blocks))],
        features.float_convolution,
        features.CONVOLUTION_TERMS,
        lambda work: not work.by_element,
    ),
    Template(
        "winograd",
        1,
        Convolution,
        winograd_tiles,
        _winograd,
        features.winograd,
        features.WINOGRAD_TERMS,
        lambda work: winograd.suits_winograd(work) and not work.by_element,
        direct=False,
    ),
    Template(
        "element-winograd", 1, Convolution, element_winograd_tiles, _winograd, serves=prefers_winograd, direct=False
    ),
    Template(
        "element-convolution",
        1,
        Convolution,
        element_tiles,
        lambda work, tile: [(ConvolutionSource(work, tile), tile.tasks(work.geometry, work.out_blocks))],
        serves=lambda work: work.by_element,
    ),
    Template(
        "window",
        1,
        Window,
        window_tiles,
        lambda work, tile: [(WindowSource(work, tile.pixels), window_tasks(work))],
        features.window,
        features.WINDOW_TERMS,
    ),
    Template(
        "integer-convolution",
        2,
        IntegerConvolution,
        integer_tiles,
        lambda work, tile: [(IntegerConvolutionSource(work, tile), tile.tasks(work.geometry, work.out_blocks))],
    ),
    Template(
        "integer-window",
        2,
        IntegerWindow,
        integer_window_tiles,
        lambda work, tile: [(IntegerWindowSource(work, tile.pixels), window_tasks(work))],
    ),
)
TEMPLATES = {template.name: template for template in _ALL}


def templates_for(work: Any) -> list[Template]:
    """The templates that can compute a workload, in the order of preference where nothing else decides."""
    return [item for item in TEMPLATES.values() if type(work) is item.workload and item.serves(work)]


def tools() -> dict[str, str]:
    """What else decides the machine code of a kernel."""
    return {"tvm": installed("apache-tvm")}

"""Every block that a detector of a search space can contain, each once.

A first block of a group reads any width of the group before, the others read their own; heads and extra
layers depend on the widths at the end of their stages. Every group has a block, so sizes are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product, zip_longest

from mdcompiler.latency.signature import signature
from mdcompiler.spec import SearchSpace, Spec, build_network
from mdcompiler.spec.blocks import Block, ConvBlock
from mdcompiler.spec.build import IMAGE
from mdcompiler.spec.expand import expand_block
from mdcompiler.spec.fields import Residual
from mdcompiler.spec.network import PlacedBlock
from mdcompiler.spec.search_space import Group
from mdcompiler.spec.steps import Size, Tensor


def space_blocks(space: SearchSpace) -> dict[str, PlacedBlock]:
    """The blocks of `space` by signature, in the order in which a network has them."""
    found: dict[str, PlacedBlock] = {}
    for spec in _variants(space):
        for block in _blocks(space, spec):
            found.setdefault(signature(block), block)
    return found


def spec_blocks(spec: Spec) -> dict[str, PlacedBlock]:
    """The blocks of one detector by signature."""
    return {signature(block): block for block in build_network(spec).blocks}


def _variants(space: SearchSpace) -> Iterator[Spec]:
    """The template with every size, activation and squeeze-excite ratio; its blocks are not used."""
    template = space.template
    for height, width, activation, ratio in product(space.heights, space.widths, space.activations, space.se_ratios):
        sized = template.input.model_copy(update={"height": height, "width": width})
        defaults = template.defaults.model_copy(update={"activation": activation, "se": ratio})
        yield template.model_copy(update={"input": sized, "defaults": defaults})


def _blocks(space: SearchSpace, spec: Spec) -> Iterator[PlacedBlock]:
    size = (spec.input.height, spec.input.width)
    for out in space.stem:
        yield _place(spec, ConvBlock(kind="conv", out=out, stride=2), "stem", 3, size)
    size, widths = _shrink(size, 2), space.stem
    for index, group in enumerate(space.groups):
        path = f"{group.stage}/g{index}"
        yield from _first_blocks(spec, group, path, widths, size)
        size, widths = _shrink(size, group.stride), group.channels
        if group.most > 1:
            yield from _further_blocks(spec, group, path, size)
    yield from _ends(space, spec)


def _first_blocks(spec: Spec, group: Group, path: str, widths: tuple[int, ...], size: Size) -> Iterator[PlacedBlock]:
    for source, out, op in product(widths, group.channels, group.ops):
        residual: Residual = "off" if group.stride == 1 and source == out else "auto"
        yield _place(spec, op.block(out, group.stride, residual), path, source, size)


def _further_blocks(spec: Spec, group: Group, path: str, size: Size) -> Iterator[PlacedBlock]:
    for out, op in product(group.channels, group.ops):
        yield _place(spec, op.block(out, 1, "auto"), path, out, size)


def _place(spec: Spec, block: Block, path: str, source: int, size: Size) -> PlacedBlock:
    name = f"{path}.{block.kind}"
    steps, text = expand_block(spec, block, name, Tensor(IMAGE, source, size))
    return PlacedBlock(name, block.kind, text, steps)


def _shrink(size: Size, stride: int) -> Size:
    return -(-size[0] // stride), -(-size[1] // stride)


def _ends(space: SearchSpace, spec: Spec) -> Iterator[PlacedBlock]:
    """Extra layers and heads: of networks whose stages are plain convolutions of the right widths and strides."""
    widths = [_end(space, stage) for stage in spec.head.levels]
    for chosen in zip_longest(*widths):
        ends = {
            stage: own[0] if width is None else width
            for stage, own, width in zip(spec.head.levels, widths, chosen, strict=True)
        }
        network = build_network(spec.model_copy(update={"blocks": dict(_plain_stages(space, ends))}))
        yield from network.blocks[len(network.backbone) :]


def _end(space: SearchSpace, stage: str) -> tuple[int, ...]:
    return next(group.channels for group in reversed(space.groups) if group.stage == stage)


def _plain_stages(space: SearchSpace, ends: dict[str, int]) -> Iterator[tuple[str, tuple[ConvBlock, ...]]]:
    stages: dict[str, list[int]] = {}
    for group in space.groups:
        stages.setdefault(group.stage, [] if stages else [2]).append(group.stride)
    for stage, strides in stages.items():
        out = ends.get(stage, 8)
        yield stage, tuple(ConvBlock(kind="conv", out=out, kernel=1, stride=stride) for stride in strides)

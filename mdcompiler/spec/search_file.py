"""A search space as a file: which blocks may stand where, in YAML.

    name: phone
    template: mobiledet-edgetpu            # head, extra layers, rounding, post-processing: of the zoo, or a spec file
    stem: [16, 32]                         # channels of the first convolution, 3x3 of stride 2
    heights: [256, 320]                    # pixels; left out, the template's; so are widths
    activations: [relu6]                   # of all blocks; left out, the template's; so is se
    groups:                                # runs of blocks of equal width, in order
      - stage: C2
        stride: 2                          # of the first block; the others have 1
        channels: [16, 24, 32]
        least: 1                           # blocks in the group
        most: 4
        blocks:                            # each may be any of these, with any of the numbers listed
          - {kind: ibn, kernel: [3, 5], expansion: [4, 8]}
          - {kind: fused, kernel: 3, expansion: 4}
          - {kind: tucker, kernel: 3, input_ratio: [0.25, 0.75], output_ratio: 0.25}

The last block of a stage is what the template's head reads under the stage's name.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError

from mdcompiler.errors import SpecError
from mdcompiler.spec.blocks import Part
from mdcompiler.spec.faults import Fault, Location, fail, faults_of
from mdcompiler.spec.fields import (
    Activation,
    Allows,
    Channels,
    Expansion,
    Kernel,
    Name,
    Pixels,
    Ratio,
    SqueezeRatio,
    Stage,
    Stride,
    whole,
)
from mdcompiler.spec.load import load_spec, read_spec_file
from mdcompiler.spec.search_op import Op
from mdcompiler.spec.search_space import Group, SearchSpace
from mdcompiler.spec.source import Source, read_source

_MOST_BLOCKS = 100_000


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


_Item = TypeVar("_Item")
_OneOrMore = Annotated[tuple[_Item, ...], BeforeValidator(_as_list), Field(min_length=1, max_length=16)]
_Count = Annotated[int, whole(1, 16), Allows("an integer from 1 to 16")]
_Kind = Annotated[Literal["ibn", "fused", "tucker"], Allows("one of ibn, fused, tucker")]
_Template = Annotated[str, Field(min_length=1, max_length=4096), Allows("a name of the zoo or the path of a spec file")]


class _Choice(Part):
    """Blocks of one kind: every combination of the numbers."""

    kind: _Kind
    kernel: _OneOrMore[Kernel] = (3,)
    expansion: _OneOrMore[Expansion] | None = None
    input_ratio: _OneOrMore[Ratio] | None = None
    output_ratio: _OneOrMore[Ratio] | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """The fields that this kind has beside the kernel."""
        return ("input_ratio", "output_ratio") if self.kind == "tucker" else ("expansion",)

    def ops(self) -> Iterator[Op]:
        for kernel, *ratios in product(self.kernel, *(getattr(self, name) for name in self.needed)):
            yield Op(self.kind, kernel, tuple(map(float, ratios)))


class _Group(Part):
    stage: Stage
    stride: Stride = 1
    channels: _OneOrMore[Channels]
    blocks: Annotated[tuple[_Choice, ...], Field(min_length=1, max_length=16)]
    least: _Count = 1
    most: _Count = 4

    def group(self) -> Group:
        """Each operation once, in the order of the file."""
        ops = tuple(dict.fromkeys(op for choice in self.blocks for op in choice.ops()))
        return Group(self.stage, self.stride, tuple(dict.fromkeys(self.channels)), ops, self.least, self.most)


class _SpaceFile(Part):
    name: Name
    template: _Template
    stem: _OneOrMore[Channels]
    heights: _OneOrMore[Pixels] | None = None
    widths: _OneOrMore[Pixels] | None = None
    activations: _OneOrMore[Activation] | None = None
    se: _OneOrMore[SqueezeRatio] | None = None
    groups: Annotated[tuple[_Group, ...], Field(min_length=1, max_length=32)]


def is_space_file(path: str) -> bool:
    """Whether the YAML file at `path` says which blocks may be rather than which are: it has `groups`.

    Raises SpecError for a file that cannot be read or is no YAML.
    """
    if Path(path).suffix not in (".yaml", ".yml", ".json"):
        return False
    data = read_source(read_spec_file(Path(path)), path).data
    return isinstance(data, dict) and "groups" in data


def load_space(path: str) -> SearchSpace:
    """The search space in the file at `path`. Raises SpecError that lists every fault with its line."""
    source = read_source(read_spec_file(Path(path)), path)
    try:
        found = _SpaceFile.model_validate(source.data)
    except ValidationError as error:
        fail(path, faults_of(error, _SpaceFile), source.lines)
    faults = list(_faults(found))
    if faults:
        fail(path, faults, source.lines)
    space = _space(found, Path(path))
    _check_size(space, path)
    _check_networks(space, source)
    return space


def _space(found: _SpaceFile, path: Path) -> SearchSpace:
    """A template that is a file lies beside the space's file."""
    is_file = Path(found.template).suffix in (".yaml", ".yml", ".json")
    template = load_spec(path.parent / found.template if is_file else found.template)
    return SearchSpace(
        template=template.model_copy(update={"name": found.name, "description": ""}),
        stem=tuple(dict.fromkeys(found.stem)),
        groups=tuple(group.group() for group in found.groups),
        heights=tuple(dict.fromkeys(found.heights or (template.input.height,))),
        widths=tuple(dict.fromkeys(found.widths or (template.input.width,))),
        activations=tuple(dict.fromkeys(found.activations or (template.defaults.activation,))),
        se_ratios=tuple(dict.fromkeys((template.defaults.se,) if found.se is None else found.se)),
    )


def _faults(found: _SpaceFile) -> Iterator[Fault]:
    for number, group in enumerate(found.groups):
        if group.least > group.most:
            yield Fault(("groups", number, "least"), group.least, f"at most the group's `most`, {group.most}")
        for place, choice in enumerate(group.blocks):
            yield from _choice_faults(choice, ("groups", number, "blocks", place))


def _choice_faults(choice: _Choice, location: Location) -> Iterator[Fault]:
    for name in ("expansion", "input_ratio", "output_ratio"):
        given = getattr(choice, name) is not None
        if given and name not in choice.needed:
            yield Fault((*location, name), None, f"is not of {choice.kind} blocks; leave it out", told=True)
        elif not given and name in choice.needed:
            yield Fault((*location, name), None, f"is missing; {choice.kind} blocks have one", told=True)
    if choice.kind == "fused" and choice.expansion and min(choice.expansion) == 1:
        yield Fault((*location, "expansion"), 1, "a number above 1 for fused blocks")


def _check_size(space: SearchSpace, path: str) -> None:
    """A table has a row for every block, so their number is bounded."""
    variants = len(space.heights) * len(space.widths) * len(space.activations) * len(space.se_ratios)
    before = (len(space.stem), *(len(group.channels) for group in space.groups))
    places = sum(
        (source + 1) * len(group.channels) * len(group.ops) for source, group in zip(before, space.groups, strict=False)
    )
    if variants * places > _MOST_BLOCKS:
        raise SpecError(
            f"{path}: the space may have {variants * places:,} blocks; at most {_MOST_BLOCKS:,} can be listed. "
            "Leave some channels, blocks or picture sizes out."
        )


def _check_networks(space: SearchSpace, source: Source) -> None:
    """The first network of the space, where the template does not fit its stages."""
    missing = sorted(set(space.template.head.levels) - {group.stage for group in space.groups})
    if missing:
        allowed = f"have no stage {missing[0]}, which the head of the template reads; name one so"
        fail(source.where, [Fault(("groups",), None, allowed, told=True)], source.lines)
    try:
        space.decode([0] * len(space.genes))
    except SpecError as error:
        raise SpecError(f"{source.where}: the first network of the space is none: {error}") from error

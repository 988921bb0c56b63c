"""The space of detectors that an architecture search walks through.

A detector of the space is a flat vector of integers; each is the number of an option of one gene. The
genes are, in order: input height and width, activation, squeeze-excite ratio, the stem's channels, then
for every group its channels and the operation of every place for a block (or "no block").

A group is a run of blocks of equal width; only its first block has a stride and never has a residual,
as in the published networks (TuNAS, arXiv 2008.06120, on which the MobileDet search builds).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.errors import SpecError
from mdcompiler.spec.blocks import Block, ConvBlock
from mdcompiler.spec.fields import Residual
from mdcompiler.spec.load import build_spec
from mdcompiler.spec.model import Spec
from mdcompiler.spec.search_op import Op, op_of

Vector = NDArray[np.int64]


@dataclass(frozen=True)
class Group:
    """Blocks of one width in `stage`: `least` to `most` of them, channels and operations to choose from."""

    stage: str
    stride: int
    channels: tuple[int, ...]
    ops: tuple[Op, ...]
    least: int = 1
    most: int = 4


@dataclass(frozen=True)
class Gene:
    """One number of a vector: what it decides and its options."""

    name: str
    options: tuple[Any, ...]


@dataclass(frozen=True)
class SearchSpace:
    """What may vary; everything else is as in `template`."""

    template: Spec
    stem: tuple[int, ...]
    groups: tuple[Group, ...]
    heights: tuple[int, ...] = (320,)
    widths: tuple[int, ...] = (320,)
    activations: tuple[str, ...] = ("relu6",)
    se_ratios: tuple[float, ...] = (0.0,)

    @classmethod
    def mobiledet(cls) -> SearchSpace:
        """The space of the MobileDet paper; holds all four published networks."""
        from mdcompiler.spec.search_published import mobiledet_space

        return mobiledet_space()

    @classmethod
    def small(cls) -> SearchSpace:
        """A space of tiny detectors with every kind of block, activation and odd sizes: for tests."""
        from mdcompiler.spec.search_small import small_space

        return small_space()

    @property
    def genes(self) -> tuple[Gene, ...]:
        """What each number of a vector decides."""
        return tuple(self._genes())

    def sample(self, seed: int) -> Spec:
        """A random detector of the space, the same for the same seed."""
        return self.decode(self.sample_vector(seed))

    def sample_vector(self, seed: int) -> Vector:
        """A random vector; every option of every gene is equally likely."""
        random = np.random.default_rng(seed)
        return np.array([random.integers(len(gene.options)) for gene in self.genes], np.int64)

    def mutate(self, parent: Spec | Sequence[int] | Vector, seed: int) -> Spec:
        """A detector that differs from `parent` in one gene. Raises SpecError for a parent outside the space."""
        vector = self.encode(self.decode(parent) if not isinstance(parent, Spec) else parent)
        random = np.random.default_rng(seed)
        genes = self.genes
        for place in random.permutation(len(genes)):
            for option in random.permutation(len(genes[place].options)):
                changed = vector.copy()
                changed[place] = option
                child = self.decode(changed)
                if not np.array_equal(self.encode(child), vector):
                    return child
        raise SpecError(f"{self.template.name}: the search space has one detector only, so nothing can change")

    def decode(self, vector: Sequence[int] | Vector) -> Spec:
        """The detector that `vector` stands for. Raises SpecError for a wrong length or an unknown option."""
        values = self._values(vector)
        height, width, activation, ratio, stem = (next(values) for _ in range(5))
        blocks: dict[str, list[Block]] = {}
        for group in self.groups:
            stage = blocks.setdefault(group.stage, [] if blocks else [ConvBlock(kind="conv", out=stem, stride=2)])
            before = _last_width(blocks)
            out = next(values)
            ops = [op for op in (next(values) for _ in range(group.most)) if op is not None]
            stage.extend(_blocks(group, ops, before, out))
        data = self.template.to_data()
        data["input"] |= {"height": height, "width": width}
        data["defaults"] |= {"activation": activation, "se": ratio}
        data["blocks"] = {
            name: [block.model_dump(exclude_none=True) for block in stage] for name, stage in blocks.items()
        }
        data["name"] = f"{self.template.name}-{_digest(data)}"
        return build_spec(data, data["name"])

    def encode(self, spec: Spec) -> Vector:
        """The vector of `spec`, with absent blocks last in their group.

        Raises SpecError naming the first thing that is not in the space.
        """
        groups = list(_split(spec))
        if [stage for stage, _ in groups] != [group.stage for group in self.groups]:
            found = ", ".join(stage for stage, _ in groups)
            raise SpecError(f"{spec.name}: groups of blocks in stages {found} are not those of the search space")
        values: list[Any] = [spec.input.height, spec.input.width, spec.defaults.activation, spec.defaults.se]
        values.append(next(iter(spec.blocks.values()))[0].out)
        for group, (_, blocks) in zip(self.groups, groups, strict=True):
            values.append(blocks[0].out)
            values.extend(op_of(block) for block in blocks)
            values.extend([None] * (group.most - len(blocks)))
        vector = self._numbers(spec, values)
        self._check_rest(spec, self.decode(vector))
        return vector

    def _genes(self) -> Iterator[Gene]:
        yield Gene("input.height", self.heights)
        yield Gene("input.width", self.widths)
        yield Gene("defaults.activation", self.activations)
        yield Gene("defaults.se", self.se_ratios)
        yield Gene("stem.out", self.stem)
        for index, group in enumerate(self.groups):
            yield Gene(f"{group.stage}/g{index}.out", group.channels)
            for place in range(group.most):
                absent = () if place < group.least else (None,)
                yield Gene(f"{group.stage}/g{index}/b{place}", (*group.ops, *absent))

    def _values(self, vector: Sequence[int] | Vector) -> Iterator[Any]:
        genes = self.genes
        if len(vector) != len(genes):
            raise SpecError(f"{self.template.name}: a vector has {len(vector)} numbers; {len(genes)} in this space")
        for gene, number in zip(genes, vector, strict=True):
            if not 0 <= int(number) < len(gene.options):
                raise SpecError(f"{self.template.name}: {gene.name} is {number}; 0 to {len(gene.options) - 1}")
        return (gene.options[int(number)] for gene, number in zip(genes, vector, strict=True))

    def _numbers(self, spec: Spec, values: Sequence[Any]) -> Vector:
        genes = self.genes
        if len(values) != len(genes):
            raise SpecError(f"{spec.name}: more blocks in a group than the search space has places for")
        for gene, value in zip(genes, values, strict=True):
            if value not in gene.options:
                raise SpecError(f"{spec.name}: {gene.name} is {value}; the search space has {gene.options}")
        return np.array([gene.options.index(value) for gene, value in zip(genes, values, strict=True)], np.int64)

    def _check_rest(self, spec: Spec, twin: Spec) -> None:
        wanted, found = (
            {**item.to_data(), "name": "", "description": self.template.description} for item in (twin, spec)
        )
        for part in wanted:
            if wanted[part] != found[part]:
                raise SpecError(f"{spec.name}: {part} is not as the search space has it, see its template")


def _blocks(group: Group, ops: list[Op], before: int, out: int) -> Iterator[Block]:
    for index, op in enumerate(ops):
        stride = 1 if index else group.stride
        off = index == 0 and stride == 1 and before == out
        residual: Residual = "off" if off else "auto"
        yield op.block(out, stride, residual)


def _last_width(blocks: dict[str, list[Block]]) -> int:
    return next(stage[-1].out for stage in reversed(blocks.values()) if stage)


def _split(spec: Spec) -> Iterator[tuple[str, list[Block]]]:
    """Groups of the spec after its stem: a change of width, a stride or a residual left out starts one."""
    for number, (stage, blocks) in enumerate(spec.blocks.items()):
        rest = list(blocks if number else blocks[1:])
        while rest:
            size = next((at for at, block in enumerate(rest[1:], 1) if _starts(block, rest[0])), len(rest))
            yield stage, rest[:size]
            rest = rest[size:]


def _starts(block: Block, before: Block) -> bool:
    if isinstance(block, ConvBlock):
        return True
    return block.out != before.out or block.stride != 1 or block.residual == "off"


def _digest(data: dict[str, Any]) -> str:
    parts = [repr(data[part]) for part in ("input", "defaults", "blocks")]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:8]

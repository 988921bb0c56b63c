"""The search space: every vector is a detector, and every detector of it a vector."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.errors import SpecError
from mdcompiler.spec import SearchSpace, build_network, load_spec

SMALL = SearchSpace.small()
MOBILEDET = SearchSpace.mobiledet()
SEEDS = st.integers(0, 2**63)


@pytest.mark.parametrize("name", ["mobiledet-cpu", "mobiledet-dsp", "mobiledet-edgetpu", "mobiledet-gpu"])
def test_published_networks_are_in_the_space(name: str) -> None:
    published = load_spec(name)
    twin = MOBILEDET.decode(MOBILEDET.encode(published))
    assert build_network(twin) == build_network(published)
    assert twin.head == published.head


@pytest.mark.parametrize("space", [SMALL, MOBILEDET], ids=["small", "mobiledet"])
@given(seed=SEEDS)
def test_encode_and_decode_are_inverse(space: SearchSpace, seed: int) -> None:
    spec = space.sample(seed)
    vector = space.encode(spec)
    assert vector.shape == (len(space.genes),)
    assert space.decode(vector) == spec
    np.testing.assert_array_equal(space.encode(space.decode(vector)), vector)


@pytest.mark.parametrize("space", [SMALL, MOBILEDET], ids=["small", "mobiledet"])
@given(seed=SEEDS)
def test_mutation_changes_one_thing(space: SearchSpace, seed: int) -> None:
    parent = space.sample(seed)
    child = space.mutate(parent, seed)
    assert child != parent
    assert child.name != parent.name
    assert space.mutate(space.encode(parent), seed) == child
    before, after = space.encode(parent), space.encode(child)
    # a block less moves those behind it, within its group only
    assert len({_group(space.genes[at].name) for at in np.flatnonzero(before != after)}) == 1


def test_samples_depend_on_the_seed_alone() -> None:
    assert SMALL.sample(3) == SearchSpace.small().sample(3)
    assert len({SMALL.sample(seed).name for seed in range(20)}) == 20


def test_every_kind_of_block_is_sampled() -> None:
    kinds = {block.kind for seed in range(20) for stage in SMALL.sample(seed).blocks.values() for block in stage}
    assert kinds == {"conv", "ibn", "fused", "tucker"}


def test_first_block_of_a_group_has_no_residual() -> None:
    for seed in range(30):
        spec = MOBILEDET.sample(seed)
        starts = [block for stage in spec.blocks.values() for block in stage if getattr(block, "residual", "") == "off"]
        assert all(block.stride == 1 for block in starts)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ssdlite-mobilenet-v2", "groups of blocks in stages .* are not those of the search space"),
        ("ssdlite-mobilenet-edgetpu", "defaults.activation is relu; the search space has"),
    ],
)
def test_networks_outside_the_space(name: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        MOBILEDET.encode(load_spec(name))


def test_options_outside_the_space() -> None:
    spec = load_spec("mobiledet-cpu")
    with pytest.raises(SpecError, match=r"input\.height is 64; the search space has \(320,\)"):
        MOBILEDET.encode(spec.with_(height=64))
    with pytest.raises(SpecError, match="head is not as the search space has it"):
        MOBILEDET.encode(spec.with_(classes=2))


def test_wrong_vectors() -> None:
    vector = SMALL.sample_vector(0)
    with pytest.raises(SpecError, match=f"a vector has 3 numbers; {len(vector)} in this space"):
        SMALL.decode(vector[:3])
    vector[0] = 99
    with pytest.raises(SpecError, match=r"input\.height is 99; 0 to 3"):
        SMALL.decode(vector)


def _group(gene: str) -> str:
    return "/".join(gene.split("/")[:2]).removesuffix(".out")

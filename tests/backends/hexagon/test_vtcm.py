"""The plan of VTCM: within its capacity, never what scalars or callers touch, each strip of weights covered once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from mdcompiler.backends.clib.c_source import Source
from mdcompiler.backends.hexagon.backend import HexagonBackend
from mdcompiler.backends.hexagon.emit import block_memory, plan_model
from mdcompiler.backends.hexagon.sources import HvxConvolutionSource
from mdcompiler.backends.hexagon.traffic import operands, set_bytes
from mdcompiler.backends.hexagon.vtcm import StripCall, StripCopy
from mdcompiler.compiler import Job
from mdcompiler.explain import explain_job
from mdcompiler.kernel import kernels
from mdcompiler.module import Module
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.read_network import Request
from mdcompiler.spec import SearchSpace, load_spec
from mdcompiler.target import find_target
from tests.backends.test_integer_networks import quantized
from tests.conftest import Mdc

KIB = 1024
V66 = find_target("hexagon-v66")
SMALL = SearchSpace.small().sample(4)


@pytest.fixture(scope="module")
def network() -> Module:
    spec = load_spec("mobiledet-dsp").with_(height=96, width_px=96)
    module, pipeline = quantized(spec, find_scheme(V66.scheme), V66.name)
    pipeline.run(module, HexagonBackend().passes(V66))
    return module


def planned(module: Module, capacity: int) -> Source:
    module.target = V66.model_copy(update={"vtcm_bytes": capacity})
    return plan_model(module)[0]


@pytest.mark.parametrize("capacity", [0, 16 * KIB, 256 * KIB, 4096 * KIB])
def test_what_lies_there_fits_and_is_for_vectors_alone(capacity: int, network: Module) -> None:
    source = planned(network, capacity)
    assert source.near_bytes <= capacity
    sizes = {**source.program.sizes, **{name: item.nbytes for name, item in source.program.constants.items()}}
    sizes |= {tensor.name: tensor.count for tensor in source.tensors}
    near = {name for name, offset in source.plan.offsets.items() if offset < source.near_bytes}
    assert bool(near) == bool(capacity)
    for name in near:
        assert source.plan.offsets[name] + source.program.sizes[name] <= source.near_bytes
    for call in source.calls:
        if isinstance(call, StripCopy | StripCall):
            continue
        for item in operands(call, sizes):
            assert item.by_vectors or source.aliases.place(item.name)[0] not in near, f"{item.name} in {call.kernel}"


def test_strips_cover_the_weights_once_and_in_order(network: Module) -> None:
    source = planned(network, 64 * KIB)
    strips: dict[str, list[StripCopy | StripCall]] = {}
    for call in source.calls:
        if isinstance(call, StripCopy):
            strips.setdefault(call.writes[0], []).append(call)
        elif isinstance(call, StripCall):
            strips.setdefault(call.reads[-1], []).append(call)
    assert any(len(parts) > 2 for parts in strips.values()), "some weights need several strips"
    for name, parts in strips.items():
        assert [type(part) for part in parts] == [StripCopy, StripCall] * (len(parts) // 2)
        copied = [part.size_bytes for part in parts if isinstance(part, StripCopy)]
        calls = [part for part in parts if isinstance(part, StripCall)]
        function = calls[0].function
        assert isinstance(function, HvxConvolutionSource)
        assert sum(copied) == source.program.constants[calls[0].reads[1]].nbytes
        assert [part.tasks // function.work.out[0] * set_bytes(function) for part in calls] == copied
        assert sum(part.tasks for part in calls) == function.tile.tasks(function.work)
        assert source.plan.offsets[name] < source.near_bytes
        assert max(copied) == source.program.sizes[name] <= 64 * KIB


def test_more_room_moves_bytes_from_l2_to_vtcm_and_none_appear(network: Module) -> None:
    plans = [block_memory(network, planned(network, capacity)) for capacity in (0, 32 * KIB, 256 * KIB, 4096 * KIB)]
    near = [sum(row.near_bytes for row in rows) for rows in plans]
    moved = [sum(row.near_bytes + row.far_bytes + row.scalar_bytes for row in rows) for rows in plans]
    assert near[0] == 0
    assert all(less < more for less, more in pairwise(near))
    assert len(set(moved)) == 1, "a plan moves what the kernels move, wherever it lies"
    assert all(row.kept_bytes <= 32 * KIB for row in plans[1])
    assert not any(row.strips or row.near for row in plans[0])


def test_the_manifest_states_the_plan_by_block(network: Module) -> None:
    source = planned(network, 256 * KIB)
    rows = [row.as_dict() for row in block_memory(network, source)]
    blocks = list(dict.fromkeys(kernel.block or kernel.name for kernel in kernels(network.graph)))
    assert {row["block"] for row in rows} <= set(blocks)
    assert all(isinstance(row["near"], dict) for row in rows)


def test_explain_shows_the_plan(mdc: Mdc, tmp_path: Path) -> None:
    spec = tmp_path / "small.yaml"
    spec.write_text(SMALL.to_yaml())
    code, out, err = mdc("explain", spec, "--target", "hexagon-v66")
    assert code == 0, err
    assert "VTCM" in out
    assert "0 refusals" in out
    found = explain_job(Job(Request(SMALL), V66))
    assert {row.memory for row in found.memory} == {"VTCM", "L2 and beyond", "L1"}
    assert max(row.kept_bytes for row in found.memory) <= V66.vtcm_bytes
    assert any("strips of weights: " in row.what for row in found.memory)


def test_explain_of_another_target_has_no_plan() -> None:
    assert explain_job(Job(Request(SMALL), find_target("cpu"))).memory == ()

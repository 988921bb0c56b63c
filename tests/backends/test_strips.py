"""Chains of convolutions over strips of rows: the same bits as one after the other, in less memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mdcompiler.backend import input_specs, output_specs
from mdcompiler.backends.clib import emit_library
from mdcompiler.backends.clib.choose_strips import largest_strip, strip_chooser
from mdcompiler.backends.clib.fuse_strips import fuse_strips
from mdcompiler.backends.clib.strip_chain import chains
from mdcompiler.backends.cpu import CpuBackend
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.module import Module
from mdcompiler.progress import silent
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.sampling import sample_inputs
from mdcompiler.spec import load_spec
from mdcompiler.target import find_target
from mdcompiler.tuning.records import Records
from tests.backends.programs import arena_bytes, float_module, placed, program_of
from tests.backends.test_integer_networks import quantized
from tests.weights.small_spec import small_spec

Array = NDArray[Any]
SPEC = small_spec().with_(height=44, width_px=52)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def network(request: pytest.FixtureRequest) -> Module:
    """The small detector, ready for kernels; every picture is of odd size somewhere."""
    if request.param == "int8":
        return placed(*quantized(SPEC, find_scheme("cpu")))
    return float_module(SPEC, find_target("cpu"))


def run(
    module: Module, rows: int, folder: Path, monkeypatch: pytest.MonkeyPatch, threads: int = 1
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Outputs and facts of the network with all chains over strips of `rows` rows; 0: no strips."""
    monkeypatch.setattr(emit_library, "strip_chooser", lambda chooser: lambda chain: min(rows, chain.rows))
    backend = CpuBackend()
    emission = backend.emit(module, silent, 1)
    folder.mkdir(exist_ok=True)
    for name, content in emission.files.items():
        (folder / name).write_bytes(content)
    manifest = {"inputs": input_specs(module), "outputs": output_specs(module)}
    library = backend.load(folder, manifest, threads)
    return library.run(sample_inputs(module)), emission.facts


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_strips_change_no_bit(rows: int, network: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, facts = run(network, 0, tmp_path / "whole", monkeypatch)
    assert facts["fused_chains"] == []
    for threads in (1, 3):
        got, facts = run(network, rows, tmp_path / f"strips{threads}", monkeypatch, threads)
        assert {"C2/b0.fused/expand+project", "C3/b1.ibn/expand+dw+project"} <= set(facts["fused_chains"])
        for name, values in expected.items():
            assert np.array_equal(got[name], values), (name, threads)


def test_strips_take_less_memory() -> None:
    target = find_target("x86-64-v4")
    program = program_of(load_spec("mobiledet-cpu"), target)
    whole = arena_bytes(program, target)
    assert "C2/b0.ibn/expand+dw" in fuse_strips(program, strip_chooser(Chooser(target, Records())))
    # The largest pair of tensors, 32 channels of 160x160 and what comes of it, is never there as a whole.
    assert arena_bytes(program, target) <= whole * 2 / 3


def test_a_chain_is_fused_where_its_tensors_leave_the_cache() -> None:
    target = find_target("x86-64-v4")
    found = {chain.name: chain for chain in chains(program_of(load_spec("mobiledet-edgetpu"), target))}
    chain = found["C2/b0.fused/expand+project"]
    rows = largest_strip(chain, target)
    # 128 channels of 80 pixels a row; the 1x1 behind them needs no rows above and below.
    assert chain.scratch_bytes(rows) == 128 * 4 * 80 * rows
    assert chain.scratch_bytes(rows) <= target.l2_bytes / 2
    assert strip_chooser(Chooser(target, Records()))(chain) == rows
    large = target.model_copy(update={"l2_bytes": 16 * 1024 * 1024})
    assert strip_chooser(Chooser(large, Records()))(chain) == 0


def test_a_chain_with_more_weights_than_pixels_is_left_alone() -> None:
    target = find_target("x86-64-v4")
    found = {chain.name: chain for chain in chains(program_of(load_spec("mobiledet-edgetpu"), target))}
    chain = found["C4/b5.ibn/expand+dw+project"]
    # 96 -> 768 -> 768 (5x5) -> 96 channels: two rows of 20 pixels fit, and ten strips would read this ten times.
    assert chain.weight_bytes == 4 * 768 * (96 + 25 + 96)
    assert chain.scratch_bytes(2) == 768 * 4 * 20 * (2 + 4 + 2)
    assert strip_chooser(Chooser(target, Records()))(chain) == 0

"""The cache of compiled kernels: it answers for the same work only, and never with damaged bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mdcompiler.backends.clib import build_objects as builder
from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.object_cache import ObjectCache, object_key
from mdcompiler.backends.kernels.sources import ChannelwiseSource
from mdcompiler.names import block_of
from mdcompiler.progress import silent
from mdcompiler.spec import Spec, parse_spec
from mdcompiler.target import find_target
from tests.backends.programs import program_of
from tests.weights.small_spec import small_spec

SOURCE = ChannelwiseSource("mean", (1, 4, 16))


def test_what_was_stored_comes_back(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache")
    assert cache.get("key") is None
    cache.put("key", b"code")
    assert cache.get("key") == b"code"


def test_a_damaged_object_is_a_miss(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path)
    cache.put("key", b"code")
    path = tmp_path / "key.o"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert cache.get("key") is None


def test_the_key_tells_work_and_machine_apart() -> None:
    wide, narrow = (find_target(name).llvm for name in ("x86-64-v4", "x86-64-v2"))
    other = ChannelwiseSource("mean", (1, 5, 16))
    assert len({object_key(SOURCE, wide), object_key(SOURCE, narrow), object_key(other, wide)}) == 3


def test_the_oldest_objects_go_first(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path)
    for index in range(4):
        cache.put(str(index), bytes(100))
    cache.get("0")
    cache.prune(limit_bytes=300)
    assert cache.get("0") is not None
    assert cache.get("1") is None
    assert cache.get("3") is not None


def test_a_second_build_starts_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MDC_CACHE", str(tmp_path))
    llvm = find_target("cpu").llvm
    first = build_objects({SOURCE.symbol: SOURCE}, llvm, 1, silent)
    monkeypatch.setattr(builder, "_WORKER", "no_such_module")
    assert build_objects({SOURCE.symbol: SOURCE}, llvm, 1, silent) == first


def test_the_cache_can_be_turned_off_or_unwritable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("off", str(tmp_path / "file" / "below")):
        monkeypatch.setenv("MDC_CACHE", place)
        cache = ObjectCache.default()
        cache.put("key", b"code")
        assert cache.get("key") is None


def test_changing_a_block_compiles_kernels_of_that_block_only() -> None:
    target = find_target("x86-64-v4")
    before, after = (program_of(spec, target) for spec in (small_spec(), _with_a_larger_kernel()))
    new = after.functions.keys() - before.functions.keys()
    assert new, "the block's kernels are new"
    changed = {call.kernel for call in after.calls if new & set(call.symbols)}
    assert {block_of(kernel) for kernel in changed} == {"C3/b2.ibn"}


def _with_a_larger_kernel() -> Spec:
    """The small detector with 7x7 in one depthwise convolution."""
    content = small_spec().to_data()
    content["blocks"]["C3"][2]["kernel"] = 7
    return parse_spec(json.dumps(content), "changed.json")

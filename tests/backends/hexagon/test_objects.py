"""What the vendor's linker gets: relocatable Hexagon objects of the right version that want a C library and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdcompiler.backends.hexagon.backend import HexagonBackend
from mdcompiler.progress import silent
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.spec import SearchSpace
from mdcompiler.target import find_target
from tests.backends.hexagon.elf import ElfObject, members
from tests.backends.test_integer_networks import quantized

RELOCATABLE, HEXAGON = 1, 164
FROM_RUNTIME = {"mdc_allocate", "mdc_release", "mdc_pool_create", "mdc_pool_destroy", "mdc_run_steps", "mdc_copy"}
FROM_RUNTIME |= {"mdc_cpu_features", "mdc_cpu_has", "mdc_error", "mdc_no_memory"}
"""Of mdc_runtime.c, which the vendor's compiler builds beside the archive."""
FROM_C = {"memcpy", "memset", "memmove", "expf", "exp", "qsort", "malloc", "free"}
FROM_COMPILER = "__hexagon_"
"""Of its own small library, which its linker adds by itself."""


@pytest.fixture(scope="module", params=["hexagon-v66", "hexagon-v68"])
def archive(request: pytest.FixtureRequest) -> tuple[str, list[ElfObject], dict[str, bytes]]:
    """Needs zig and no emulator."""
    pytest.importorskip("ziglang")
    target = find_target(request.param)
    module, pipeline = quantized(SearchSpace.small().sample(4), find_scheme(target.scheme), target.name)
    pipeline.run(module, HexagonBackend().passes(target))
    files = HexagonBackend().emit(module, silent, 1).files
    return request.param, list(members(files["libmodel.a"])), files


def test_objects_are_for_the_target_or_older(archive: tuple[str, list[ElfObject], dict[str, bytes]]) -> None:
    target, objects, _ = archive
    version = {"hexagon-v66": 0x66, "hexagon-v68": 0x68}[target]
    assert {(item.kind, item.machine) for item in objects} == {(RELOCATABLE, HEXAGON)}
    flags = {item.name: item.flags & 0xFF for item in objects}
    kernels = [name for name in flags if name.startswith("kernel_")]
    assert len(kernels) > 10
    assert all(flags[name] == version for name in kernels)
    assert all(flags[name] == 0x66 for name in flags if name not in kernels), "C is for the oldest"


def test_nothing_is_missing_but_a_c_library(archive: tuple[str, list[ElfObject], dict[str, bytes]]) -> None:
    _, objects, files = archive
    defined = frozenset().union(*(item.defined for item in objects))
    missing = frozenset().union(*(item.undefined for item in objects)) - defined
    others = {name for name in missing if not name.startswith(FROM_COMPILER)} - FROM_RUNTIME - FROM_C
    assert not others, "neither TVM nor zig nor musl has left a mark"
    assert missing & FROM_RUNTIME
    wanted = {"model_create", "model_run", "model_destroy", "model_near_bytes", "model_near_acquire"}
    assert wanted <= defined
    assert all(f"{name}(".encode() in files["model.h"] for name in wanted)


def test_only_the_hooks_may_be_replaced(archive: tuple[str, list[ElfObject], dict[str, bytes]]) -> None:
    weak = frozenset().union(*(item.weak for item in archive[1]))
    assert {name for name in weak if name.startswith("model")} == {"model_near_acquire", "model_near_release"}


def test_the_runtime_comes_as_source(archive: tuple[str, list[ElfObject], dict[str, bytes]], tmp_path: Path) -> None:
    files = archive[2]
    for name in FROM_RUNTIME:
        assert f"{name}(".encode() in files["mdc_runtime.c"]

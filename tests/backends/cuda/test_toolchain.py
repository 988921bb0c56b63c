"""NVIDIA's compilers: found or asked for, what they say of a kernel, and what older drivers can read."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from mdcompiler.backends.cuda.compile_kernels import compile_kernels
from mdcompiler.backends.cuda.compiled import CompiledKernel
from mdcompiler.backends.cuda.fit import MOST_REGISTERS, faults_of
from mdcompiler.backends.cuda.nvrtc import compile_ptx
from mdcompiler.backends.cuda.prelude import PRELUDE
from mdcompiler.backends.cuda.ptx import join_ptx
from mdcompiler.backends.cuda.ptxas import Resources, assemble, parse_report
from mdcompiler.backends.cuda.toolchain import Toolchain, find_toolchain, why_missing
from mdcompiler.errors import InternalError, MissingToolError, TargetError
from mdcompiler.progress import silent
from mdcompiler.registry import backend
from mdcompiler.target import Target, find_target
from tests.backends.cuda.kernel_sources import Mirror

ARCHS = ("sm_72", "sm_87", "sm_90")
SAID = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'first' for 'sm_72'
ptxas info    : Function properties for first
    16 bytes stack frame, 24 bytes spill stores, 40 bytes spill loads
ptxas info    : Used 38 registers, used 1 barriers, 2048 bytes smem, 384 bytes cmem[0], 8 bytes cmem[2]
ptxas info    : Compiling entry function 'second' for 'sm_72'
ptxas info    : Function properties for second
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 9 registers
"""
SPILLING = """
extern "C" __global__ void __launch_bounds__(1024) spilling(float* source_ptr, float* target_ptr) {
  float kept[200];
  for (int i = 0; i < 200; ++i) kept[i] = source_ptr[i * 1024 + threadIdx.x];
  __syncthreads();
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < 200; ++i) kept[i] = kept[i] * kept[(i + 7) % 200] + source_ptr[(i + j) * 512 + threadIdx.x];
  for (int i = 0; i < 200; ++i) target_ptr[i * 1024 + threadIdx.x] = kept[i];
}
"""


@pytest.fixture(scope="module")
def tools() -> Toolchain:
    if why_missing():
        pytest.skip(why_missing())
    return find_toolchain()


def test_missing_compilers_are_asked_for_with_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "mdcompiler.backends.cuda.toolchain.find_spec", lambda name: None if "nvrtc" in name else find_spec(name)
    )
    said = r"needs .*nvidia-cuda-nvrtc-cu12 .*Run `pip install mdcompiler\[cuda\]`\."
    with pytest.raises(MissingToolError, match=said):
        find_toolchain()
    with pytest.raises(MissingToolError, match=said):
        backend("cuda").check_ready(find_target("jetson-orin"))  # type: ignore[attr-defined]


def test_a_namespace_that_is_not_there_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("mdcompiler.backends.cuda.toolchain.find_spec", absent)
    assert "nvidia-cuda-nvcc-cu12 and nvidia-cuda-nvrtc-cu12" in why_missing()


def test_what_ptxas_says_is_read() -> None:
    assert parse_report(SAID) == {
        "first": Resources(registers=38, shared_bytes=2048, stack_bytes=16, spill_bytes=64),
        "second": Resources(registers=9),
    }
    with pytest.raises(InternalError, match="nothing of the registers of odd"):
        parse_report("Compiling entry function 'odd' for 'sm_72'\nptxas info: all is well\n")


@pytest.mark.parametrize("arch", ARCHS)
def test_spills_are_seen(tools: Toolchain, arch: str) -> None:
    ptx = compile_ptx(PRELUDE + SPILLING, arch, tools.nvrtc)
    used = assemble(ptx, arch, tools.ptxas).resources["spilling"]
    assert used.spill_bytes > 0
    kernel = CompiledKernel("spilling", SPILLING, ptx, (1, 1, 1), (1024, 1, 1), used)
    (fault,) = faults_of(kernel, find_target("jetson-orin"))
    assert fault == f"{used.spill_bytes} bytes of registers spilled to memory; allowed 0"


@pytest.mark.parametrize(
    ("block", "used", "fault"),
    [
        ((1025, 1, 1), Resources(32), "1025 threads a block; allowed 1024"),
        ((32, 1, 1), Resources(32, 49153), "49153 bytes of shared memory a block; allowed 49152"),
        ((32, 1, 1), Resources(256), f"256 registers a thread; allowed {MOST_REGISTERS}"),
        ((512, 1, 1), Resources(129), "66048 registers a block; allowed 65536"),
    ],
)
def test_what_exceeds_a_chip_is_named(block: tuple[int, int, int], used: Resources, fault: str) -> None:
    assert faults_of(CompiledKernel("k", "", "", (1, 1, 1), block, used), find_target("jetson-xavier")) == [fault]


@pytest.mark.parametrize(("arch", "version"), [("sm_72", "7.4"), ("sm_87", "7.4"), ("sm_90", "7.8"), ("sm_120", "8.8")])
def test_kernels_become_one_module_that_old_drivers_read(tools: Toolchain, arch: str, version: str) -> None:
    kernels = compile_kernels({name: Mirror(name) for name in ("one", "two")}, fields(arch), 1, silent)
    ptx = join_ptx((kernel.ptx for kernel in kernels.values()), arch)
    assert ptx.startswith(f".version {version}\n.target {arch}\n")
    assert ptx.count(".version") == ptx.count(".target") == 1
    resources = assemble(ptx, arch, tools.ptxas).resources
    assert resources == {name: kernel.resources for name, kernel in kernels.items()}
    assert all(used.shared_bytes == 64 * 16 and used.spill_bytes == 0 for used in resources.values())


def test_a_hint_of_newer_versions_is_left_out() -> None:
    module = '.version 8.8\n.target sm_72\n.address_size 64\n\t.pragma "used_bytes_mask 0xf0f";\n\tret;\n'
    assert join_ptx([module], "sm_72") == ".version 7.4\n.target sm_72\n.address_size 64\n\nret;\n"
    with pytest.raises(InternalError, match="not for sm_87"):
        join_ptx([module], "sm_87")


@pytest.mark.usefixtures("tools")
def test_compiled_kernels_survive_the_cache() -> None:
    (kernel,) = compile_kernels({"mirror": Mirror()}, fields("sm_87"), 1, silent).values()
    assert CompiledKernel.from_bytes(kernel.to_bytes()) == kernel
    assert (kernel.grid, kernel.block, kernel.threads) == ((4, 1, 1), (64, 1, 1), 64)
    (again,) = compile_kernels({"mirror": Mirror()}, fields("sm_87"), 1, silent).values()
    assert again == kernel


def test_what_the_compilers_refuse_is_our_fault(tools: Toolchain) -> None:
    with pytest.raises(InternalError, match=r"NVRTC refused the generated CUDA code: .*undefined"):
        compile_ptx('extern "C" __global__ void k() { undefined(); }', "sm_87", tools.nvrtc)
    with pytest.raises(InternalError, match="ptxas refused the PTX for sm_87"):
        assemble(".version 7.4\n.target sm_87\n.address_size 64\nnonsense\n", "sm_87", tools.ptxas)


@pytest.mark.parametrize(
    "changed", [{"kind": "cuda"}, {"kind": "cuda", "arch": "ampere"}, {"kind": "llvm", "arch": "sm_87"}]
)
def test_a_target_must_name_its_chip(changed: dict[str, str]) -> None:
    target = Target(name="mine", backend="cuda", llvm=changed)
    with pytest.raises(TargetError, match=r"target mine: .* `kind: cuda` and an `arch` such as sm_87"):
        backend("cuda").check_ready(target)  # type: ignore[attr-defined]


def fields(arch: str) -> dict[str, str]:
    """TVM's fields of a chip."""
    return {"kind": "cuda", "arch": arch}

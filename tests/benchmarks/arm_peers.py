"""Other runtimes' own builds for 64-bit Arm, run and counted in the same QEMU as ours.

    python -m tests.benchmarks.arm_peers ROOT

fills the folder ROOT: Debian's Python for arm64 by apt, beside the machine's own packages and without touching them,
and the runtimes' wheels by pip. `arm_instructions --peers ROOT` uses it.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mdcompiler.backends.arm.instructions import plugin_options, read_counts
from mdcompiler.backends.arm.machine import emulator_command
from mdcompiler.backends.clib.link import compiler_command
from tests.benchmarks.agreement import describe
from tests.benchmarks.peer_models import UnavailableError, model_for
from tests.benchmarks.subjects import Subject

RUNTIMES = ("ncnn", "onnxruntime", "litert")
PROJECT = Path(__file__).resolve().parents[2]
_SECONDS = 1800
_PYTHON = "3.11"
_DEBIAN = (
    *("libc6", "libgcc-s1", "libstdc++6", "libgomp1", "zlib1g", "libexpat1", "libffi8", "liblzma5", "libbz2-1.0"),
    *("libssl3", "libsqlite3-0", "libuuid1", "libreadline8", "libtinfo6", "libncursesw6"),
    *(f"python{_PYTHON}", f"python{_PYTHON}-minimal", f"libpython{_PYTHON}-minimal", f"libpython{_PYTHON}-stdlib"),
)
_WHEELS = ("numpy", "ncnn", "onnxruntime", "ai-edge-litert", "flatbuffers", "protobuf", "packaging", "coloredlogs")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
_FILES = {
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimdrdm "
    "lrcpc dcpop asimddp\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\n"
    "CPU revision\t: 1\n",
    **{f"sys/devices/system/cpu/{name}": "0\n" for name in ("present", "possible", "online")},
}
"""What a Cortex-A76's Linux tells programs of the processor; QEMU's user mode would show this machine's."""
_MARKS = """__attribute__((visibility("default"))) void mark_start(void) { __asm__ volatile("hint #100" ::: "memory"); }
__attribute__((visibility("default"))) void mark_end(void) { __asm__ volatile("hint #101\\nhint #102" ::: "memory"); }
"""


def prepare(root: Path) -> None:
    """Fill `root`. Raises SystemExit with what apt or pip says when it fails."""
    for name, content in _FILES.items():
        (root / "system" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "system" / name).write_text(content)
    _unpack_debian(root)
    names = [option for name in _PLATFORMS for option in ("--platform", name)]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary=:all:", "--no-deps", "--upgrade"]
    _call([*pip, *names, "--python-version", _PYTHON, "--target", str(root / "site"), *_WHEELS], root)


def _unpack_debian(root: Path) -> None:
    """Packages of another architecture, by an apt whose state is all in `root`."""
    apt = root / "apt"
    for name in ("lists/partial", "cache/archives/partial"):
        (apt / name).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    options = ["APT::Architecture=arm64", "APT::Architectures=arm64", f"Dir::State={apt}", f"Dir::Cache={apt}/cache"]
    options += [f"Dir::State::status={apt}/status", f"Dir::State::lists={apt}/lists", "APT::Sandbox::User=root"]
    command = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    _call([*command, "update"], apt)
    _call([*command, "download", *_DEBIAN], apt)
    for package in sorted(apt.glob("*.deb")):
        _call(["dpkg-deb", "-x", str(package), str(root / "system")], apt)


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} … failed: {done.stderr.strip()[-800:]}")


def version_in(root: Path, package: str) -> str:
    """The version of a wheel in `root`."""
    return next(item.version for item in distributions(name=package, path=[str(root / "site")]))


def count(runtime: str, subject: Subject, root: Path, folder: Path, tflite: Path | None = None) -> tuple[int, str]:
    """Instructions of one run of a peer on one thread, and how far its outputs are from the reference.

    root: as `prepare` fills it. folder: for the converted model. Raises UnavailableError with the reason.
    """
    model = model_for(runtime, subject, folder, tflite)
    with TemporaryDirectory(prefix="mdc-peer-") as name:
        place = Path(name)
        _build_marks(place)
        np.save(place / "image.npy", subject.image)
        files = [str(place / item) for item in ("image.npy", "outputs.npz", "marks.so")]
        emulator = [*emulator_command(subject.artifact.manifest.target), "-L", str(root / "system")]
        emulator += ["-E", f"PYTHONPATH={root / 'site'}:{PROJECT}", "-E", "OMP_NUM_THREADS=1"]
        python = [str(root / "system/usr/bin" / f"python{_PYTHON}"), "-m", "tests.benchmarks.arm_peer_worker"]
        command = [*emulator, *plugin_options(place), *python, runtime, str(model), ",".join(subject.expected), *files]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        counts = read_counts(place)
        if done.returncode or not counts:
            raise UnavailableError(f"it failed in QEMU: {done.stderr.strip()[-300:]}")
        with np.load(place / "outputs.npz", allow_pickle=False) as found:
            outputs = {name: found[name] for name in found.files}
    return counts[0][0], describe(subject, outputs) if runtime != "litert" else "another graph"


def _build_marks(folder: Path) -> None:
    (folder / "marks.c").write_text(_MARKS)
    command = [*compiler_command("aarch64-linux-gnu.2.17"), "-shared", "-fPIC", "-O1", "-o", "marks.so", "marks.c"]
    _call(command, folder)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]).resolve() if len(sys.argv) == 2 else sys.exit(__doc__))

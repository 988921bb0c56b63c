"""The same network compiled while parts of this processor are masked: equal inputs give equal bytes on every host.

    python -m tests.host_masks [--network NAME ...] [--target NAME ...] [--mask NAME ...] [--size PX] [--samples N]

Each mask is a process of its own that compiles every network for every target, float and int8 with all methods on, and
prints a hash of every file. `qemu` emulates a Haswell (no AVX-512) or a Nehalem (no AVX): it reaches what no variable
does, ONNX Runtime and LLVM. The check file is left out there: float64 takes hours under emulation.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mdcompiler.compiler import Job
from mdcompiler.errors import MdcError
from mdcompiler.quantization.options import Quantize
from mdcompiler.read_network import Request, describe_source
from mdcompiler.spec import Spec, load_spec
from mdcompiler.target import Target, find_target, shipped_targets
from tests.backends.edgetpu.detectors import detector

Digests = dict[str, str]
SMALL = "small"
"""In place of a name in the zoo: a detector of one block of each kind."""
_QEMU_SECONDS, _SECONDS = 14400, 7200


@dataclass(frozen=True)
class Mask:
    """environment: variables that hide instruction sets. prefix: what runs the interpreter. cores: it may use."""

    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    cores: int = 0


MASKS = {
    "none": Mask(),
    "numpy": Mask({"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR"}),
    "glibc": Mask({"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-AVX512VL"}),
    "openblas": Mask({"OPENBLAS_CORETYPE": "Nehalem", "OPENBLAS_NUM_THREADS": "1"}, cores=1),
    "haswell": Mask({"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}),
    "qemu-haswell": Mask(prefix=("qemu-x86_64", "-cpu", "Haswell")),
    "qemu-nehalem": Mask(prefix=("qemu-x86_64", "-cpu", "Nehalem")),
}
"""Mask -> how a process is put under it. Those with a prefix take an hour a network."""


def compiled(spec: Spec, target: Target, calibration: Path, samples: int, check: bool) -> Digests:
    """`precision/file` -> hash, or why it is refused, for float and int8 where the target has them."""
    found: Digests = {}
    for precision in ("fp32", "int8"):
        quantize = Quantize(calibration, samples=samples, compared=2, allow_degraded=True)
        try:
            job = Job(
                Request(spec), target, precision, 1, check, quantization=quantize if precision == "int8" else None
            )
            module = job.graph_after("fuse") if precision == "fp32" else job.graph_after("quantize")
            source = describe_source(job.request, module)
            manifest, files = job.build(module, source, job._check_file(module))
        except MdcError as error:
            found[f"{precision}/refused"] = str(error)
            continue
        files["manifest.json"] = manifest.model_dump_json().encode()
        found.update((f"{precision}/{name}", hashlib.sha256(data).hexdigest()) for name, data in files.items())
    return found


def under(mask: Mask, arguments: Sequence[str]) -> dict[str, Digests]:
    """`network target` -> digests, from a process under `mask`."""
    command = [*mask.prefix, sys.executable, "-m", "tests.host_masks", "--child", *arguments]
    if mask.cores:
        command = ["taskset", "-c", ",".join(map(str, sorted(os.sched_getaffinity(0))[: mask.cores])), *command]
    done = subprocess.run(
        command,
        env={**os.environ, **mask.environment},
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=_QEMU_SECONDS if mask.prefix else _SECONDS,
    )
    made: dict[str, Digests] = json.loads(done.stdout.splitlines()[-1])
    return made


def differences(first: Mapping[str, Digests], other: Mapping[str, Digests]) -> list[str]:
    """The files of which two processes disagree."""
    found = []
    for pair, files in first.items():
        names = sorted({*files, *other[pair]})
        found += [f"{pair} {name}" for name in names if files.get(name) != other[pair].get(name)]
    return found


def write_calibration(path: Path, spec: Spec, count: int) -> None:
    """Blocks of colours with noise: something between a picture and nothing."""
    random = np.random.default_rng(7)
    shape = (count, -(-spec.input.height // 16), -(-spec.input.width // 16), 3)
    coarse = random.integers(0, 256, shape).repeat(16, axis=1).repeat(16, axis=2)
    coarse = coarse[:, : spec.input.height, : spec.input.width]
    noisy = np.clip(coarse + random.integers(-20, 21, coarse.shape), 0, 255)
    np.savez(path, image=noisy.astype(np.uint8))


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--network", nargs="+", default=["mobiledet-cpu"], help=f"names in the zoo, or {SMALL}")
    parser.add_argument("--target", nargs="+", default=[], help="all that need no device by default")
    parser.add_argument("--mask", nargs="+", default=["none", "numpy", "glibc", "openblas"], choices=MASKS)
    parser.add_argument("--size", type=int, default=0, help="pixels of the square picture")
    parser.add_argument("--width", type=float, default=1.0, help="multiplier of the channels")
    parser.add_argument("--samples", type=int, default=4, help="of calibration")
    parser.add_argument("--no-check", action="store_true", help="without the check file")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _child(options: argparse.Namespace) -> dict[str, Digests]:
    found = {}
    for network in options.network:
        spec = detector() if network == SMALL else load_spec(network)
        spec = spec.with_(width=options.width, height=options.size or None, width_px=options.size or None)
        with tempfile.TemporaryDirectory() as folder:
            calibration = Path(folder) / "samples.npz"
            write_calibration(calibration, spec, options.samples)
            for name in options.target:
                print(network, name, file=sys.stderr, flush=True)
                digests = compiled(spec, find_target(name), calibration, options.samples, not options.no_check)
                found[f"{network} {name}"] = digests
    return found


def _arguments(options: argparse.Namespace, no_check: bool) -> Iterator[str]:
    for name in ("network", "target"):
        yield from (f"--{name}", *getattr(options, name))
    for name in ("size", "width", "samples"):
        yield from (f"--{name}", str(getattr(options, name)))
    if no_check:
        yield "--no-check"


def main() -> int:
    options = _parse()
    options.target = options.target or [name for name in shipped_targets() if name != "cpu"]
    if options.child:
        print(json.dumps(_child(options)))
        return 0
    no_check = options.no_check or any(MASKS[name].prefix for name in options.mask)
    results = {name: under(MASKS[name], list(_arguments(options, no_check))) for name in options.mask}
    first = results.pop(options.mask[0])
    rows = [(f"{pair} {key}", text) for pair, files in first.items() for key, text in files.items()]
    refused = [f"{key}: {text}" for key, text in rows if key.endswith("refused")]
    print(*refused, sep="\n")
    print(f"{len(rows) - len(refused)} files of {len(first)} pairs under {options.mask[0]}")
    for name, other in results.items():
        found = differences(first, other)
        print(f"{name}: {len(found)} differ", *found, sep="\n  ")
    return int(any(differences(first, other) for other in results.values()))


if __name__ == "__main__":
    sys.exit(main())

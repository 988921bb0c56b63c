"""kill -9 at random moments of every verb that writes, then the same command again.

    python -m tests.faults.kills 500 [VERB ...]

After the kill a result is the old one or the new one; after the next run it is the new one, and nothing else is left:
no temporary file, no half record, no damaged object in the cache. Each command runs in a forked child, for imports
would take most of the time, and is killed alone or with the processes that it started.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image

from mdcompiler.artifact import verified_artifact
from mdcompiler.cli import run
from mdcompiler.errors import MdcError
from mdcompiler.tuning.record_file import good_records
from tests.faults.networks import small_network

CHIP = "jetson-orin"
DETECTOR = ("--size", "64", "--width", "0.25")
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class Verb:
    """name, and the arguments of the command; files are named relative to the sandbox.

    before: the same for what was there before, empty where nothing was. content: what a result in the folder `out` is,
    however often it is made; None while there is none. mends: the result may be half made after a kill.
    """

    name: str
    arguments: tuple[str, ...]
    content: Callable[[Path], object]
    before: tuple[str, ...] = ()
    mends: bool = False


def _bytes_of(out: Path) -> object:
    """Every file below `out`, by name; temporary ones are no results, and `Sandbox.left` looks for them."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and "/.mdcompiler-" not in str(path)]
    return {str(path.relative_to(out)): path.read_bytes() for path in files} or None


def _artifact_of(out: Path) -> object:
    """The same; a whole artifact, if it is any."""
    if (out / "net").exists():
        verified_artifact(out / "net")
    return _bytes_of(out)


def _records_of(out: Path) -> object:
    """Which workloads were measured: times differ from run to run. Half a last line is what a kill may leave."""
    if not (out / "records.jsonl").exists():
        return None
    return sorted({json.dumps(item.workload, sort_keys=True) for item in good_records(out / "records.jsonl")})


def _rows_of(out: Path) -> object:
    """The matrix without its times."""
    table = out / "matrix" / "matrix.json"
    if not table.exists():
        return None
    for folder in (out / "matrix" / "pairs").iterdir():
        if folder.is_dir():
            verified_artifact(folder)
    rows = json.loads(table.read_bytes())["pairs"]
    return [(row["network"], row["target"], row["verdict"]) for row in rows]


_COMPILE = ("compile", "net.onnx", "-o", "out/net", "--threads", "1")
_INT8 = ("--precision", "int8", "--calibration", "data.npz")
_LOWER = ("lower", "mobiledet-cpu", "-o", "out/net.onnx", *DETECTOR)
_TUNE = ("tune", "net.onnx", "--trials", "1", "--no-blocks", "--records", "out/records.jsonl")
_MATRIX = ("matrix", "net.onnx", "other.onnx", "--targets", "cpu,null", "--out", "out/matrix", "--threads", "1")
VERBS = (
    Verb("compile", _COMPILE, _artifact_of, ("compile", "other.onnx", *_COMPILE[2:])),
    Verb("compile-int8", (*_COMPILE, *_INT8, "--allow-degraded"), _artifact_of),
    Verb("compile-stop", ("compile", "net.onnx", "-o", "out/net.onnx", "--stop-after", "fuse"), _bytes_of),
    Verb("lower", _LOWER, _bytes_of, (*_LOWER, "--raw")),
    Verb("lut", ("lut", "mobiledet-cpu", "-o", "out/table.jsonl", "--chip", CHIP), _bytes_of),
    Verb("tune", _TUNE, _records_of, mends=True),
    Verb("records", ("records", "prune", "out/records.jsonl"), _bytes_of, _TUNE),
    Verb("matrix", _MATRIX, _rows_of, mends=True),
    Verb("run", ("run", "made", "-i", "one.npz", "-o", "out/y.npz"), _bytes_of),
    Verb("detect", ("detect", "detector", "picture.png", "--draw", "out/drawn"), _bytes_of),
    Verb("quantize", ("quantize", "net.onnx", "--calibration", "data.npz", "--report", "--samples", "4"), _bytes_of),
)


class Sandbox:
    """A home, a cache, a folder for temporary files and the inputs of every verb."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.temporary, self.cache = folder, folder / "tmp", folder / "cache"
        for path in (self.temporary, self.cache, folder / "home"):
            path.mkdir(parents=True)
        self.warm_up()
        small_network(folder / "net.onnx")
        small_network(folder / "other.onnx", seed=1)
        samples = np.random.default_rng(2).standard_normal((8, 8, 12, 12)).astype(np.float32)
        np.savez(folder / "data.npz", x=samples)
        np.savez(folder / "one.npz", x=samples[:1])
        pixels = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "picture.png")
        self.inputs: set[str] = set()
        self.finish(("compile", "net.onnx", "-o", "made", "--threads", "1"))
        self.finish(("compile", "mobiledet-cpu", "-o", "detector", "--target", "null", *DETECTOR))
        self.inputs = {path.name for path in folder.iterdir()}

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def clear(self) -> None:
        """Away with all results."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()

    def keep(self) -> None:
        """Results as they are now, for `restore`."""
        shutil.rmtree(self.folder / "home" / "before", ignore_errors=True)
        shutil.copytree(self.out, self.folder / "home" / "before")

    def restore(self) -> None:
        """Results as they were at the last `keep`."""
        shutil.rmtree(self.out)
        shutil.copytree(self.folder / "home" / "before", self.out)

    def kill(self, arguments: tuple[str, ...], after_seconds: float, group: bool) -> None:
        """Run and kill. group: the processes that it started, too."""
        pid = self.start(arguments)
        time.sleep(after_seconds)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL) if group else os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def warm_up(self) -> None:
        """Import once what every child would."""
        for name in ("compiler", "passes", "matrix", "latency", "tuning", "cli.app", "backends.clib.emit_library"):
            import_module(f"mdcompiler.{name}")
        for name in ("onnxruntime", "onnxsim", "onnx.reference", "safetensors.numpy"):
            import_module(name)

    def start(self, arguments: tuple[str, ...]) -> int:
        """The process that runs `mdc` with these arguments, in a group of its own."""
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            os.setsid()
            code = self._run(arguments)
        finally:
            os._exit(code)

    def _run(self, arguments: tuple[str, ...]) -> int:
        os.chdir(self.folder)
        words = os.open(self.folder / "home" / "words.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in (1, 2):
            os.dup2(words, number)
        places = {"HOME": "home", "TMPDIR": "tmp", "MDC_CACHE": "cache"}
        os.environ.update({name: str(self.folder / place) for name, place in places.items()}, MDC_PROCESSES="1")
        tempfile.tempdir = None
        with os.fdopen(1, "w") as out, os.fdopen(2, "w") as err, redirect_stdout(out), redirect_stderr(err):
            return run(arguments)

    def finish(self, arguments: tuple[str, ...]) -> float:
        """Run to the end; seconds. Raises RuntimeError with the last words."""
        start = time.monotonic()
        _, status = os.waitpid(self.start(arguments), 0)
        if status:
            words = (self.folder / "home" / "words.txt").read_text(errors="replace")
            raise RuntimeError(f"mdc {' '.join(arguments)}: status {status}: {words[-600:]}")
        return time.monotonic() - start

    def left(self) -> list[str]:
        """What should not be there: temporary names anywhere, files beside the known ones, damaged objects."""
        strange = [path for path in self.folder.iterdir() if path.name not in self.inputs and path != self.out]
        strange += [*self.temporary.iterdir(), *self.folder.rglob("*mdcompiler-*")]
        strange += [path for path in self.cache.iterdir() if not _is_whole(path)]
        return sorted({str(path.relative_to(self.folder)) for path in strange})


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    digest = hashlib.sha256(content[_DIGEST_BYTES:]).digest()
    return path.suffix == ".o" and content[:_DIGEST_BYTES] == digest


def try_kills(box: Sandbox, verb: Verb, count: int, seed: int = 0) -> list[str]:
    """`count` kills of `verb`; what went wrong."""
    generator = np.random.default_rng(seed)
    box.clear()
    if verb.before:
        box.finish(verb.before)
    box.keep()
    old, seconds = verb.content(box.out), box.finish(verb.arguments)
    new = verb.content(box.out)
    faults = []
    for number in range(count):
        box.restore()
        if number % 4 == 3:
            _forget_some(box.cache, generator)
        moment = float(generator.uniform(0, 1.1 * seconds))
        box.kill(verb.arguments, moment, group=bool(number % 2))
        found = [*_after_kill(box, verb, (old, new)), *_after_next_run(box, verb, new)]
        faults += [f"{verb.name}, kill {number} at {moment:.3f} s: {fault}" for fault in found]
    return faults


def _after_kill(box: Sandbox, verb: Verb, known: tuple[object, object]) -> list[str]:
    if verb.mends:
        return []
    try:
        return [] if verb.content(box.out) in known else ["neither the old nor the new result was there"]
    except MdcError as error:
        return [f"what was there cannot be used: {error}"]


def _after_next_run(box: Sandbox, verb: Verb, new: object) -> list[str]:
    try:
        box.finish(verb.arguments)
        found = [] if verb.content(box.out) == new else ["the next run gave another result"]
    except (MdcError, RuntimeError) as error:
        found = [f"the next run: {error}"]
    left = box.left()
    for name in left:
        shutil.rmtree(box.folder / name, ignore_errors=True)
    return [*found, *([f"left {left}"] if left else [])]


def _forget_some(cache: Path, generator: np.random.Generator) -> None:
    """A third of the compiled objects, so that there is something to write."""
    for path in cache.glob("*.o"):
        if generator.random() < 1 / 3:
            path.unlink()


def main() -> int:
    """Print what each verb came to; 1 when anything went wrong."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    chosen = [verb for verb in VERBS if verb.name in sys.argv[2:] or not sys.argv[2:]]
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    box, wrong = Sandbox(folder / "box"), 0
    for number, verb in enumerate(chosen):
        share = count // len(chosen) + (number < count % len(chosen))
        start = time.monotonic()
        faults = try_kills(box, verb, share, seed=number)
        wrong += len(faults)
        print(f"{verb.name}: {share} kills, {len(faults)} wrong, {time.monotonic() - start:.0f} s", flush=True)
        print(*faults[:20], sep="\n", flush=True)
    shutil.rmtree(folder)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

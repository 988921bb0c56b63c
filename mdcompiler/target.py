"""Targets: machines as data.

A target is a YAML file, so a chip is added without code: those in `mdcompiler/targets/` ship, and any
path to a `.yaml` file works in their place. Sizes are bytes.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mdcompiler.data_file import parse_data_file, read_data_file
from mdcompiler.errors import TargetError


class Target(BaseModel):
    """One machine.

    backend: who compiles for it. llvm: TVM target fields (kind, mtriple, mcpu, mattr).
    vector_bytes: width of one register; vector_registers: how many the ISA has.
    l1_bytes, l2_bytes: data caches of one core. alignment_bytes: of every buffer.
    cpu_flags: flags of /proc/cpuinfo that the binary needs. dtypes: numeric types it computes in.
    scheme: name of the quantization scheme (`mdcompiler.quantization.scheme`), "" where there are no integers.
    zig: target triple for the ziglang linker, when it is not this machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    backend: str = Field(min_length=1)
    description: str = ""
    llvm: dict[str, Any] = Field(default_factory=dict)
    vector_bytes: int = Field(default=16, ge=4, le=1024)
    vector_registers: int = Field(default=16, ge=4, le=256)
    l1_bytes: int = Field(default=32 * 1024, ge=1024)
    l2_bytes: int = Field(default=512 * 1024, ge=1024)
    alignment_bytes: int = Field(default=64, ge=1, le=4096)
    cpu_flags: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float32",)
    scheme: str = ""
    zig: str = ""

    @property
    def lanes(self) -> int:
        """How many float32 one vector register holds."""
        return self.vector_bytes // 4


def shipped_targets() -> dict[str, Target]:
    """The targets that come with the package, by name. `cpu` is this machine."""
    folder = files("mdcompiler") / "targets"
    found = [_parse(item.read_text(), item.name) for item in folder.iterdir() if item.name.endswith(".yaml")]
    targets = {target.name: target for target in sorted(found, key=lambda target: target.name)}
    return {"cpu": _host(targets), **targets}


def find_target(name: str) -> Target:
    """The target called `name`, or read from the YAML file at that path.

    Raises TargetError for an unknown name, an unreadable file or a bad field.
    """
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        return _parse(read_data_file(path, "target"), str(path))
    targets = shipped_targets()
    if name not in targets:
        raise TargetError(
            f"target {name!r} is unknown; there are {', '.join(targets)}. "
            "Choose one of them or give the path of a target file (.yaml)."
        )
    return targets[name]


def host_flags() -> frozenset[str]:
    """The instruction-set flags of this processor as Linux names them; empty where it does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return frozenset()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def missing_flags(target: Target) -> list[str]:
    """The flags that `target` needs and this processor lacks."""
    return sorted(set(target.cpu_flags) - host_flags())


def _host(targets: dict[str, Target]) -> Target:
    """The widest shipped target whose instruction sets this processor has, under the name `cpu`."""
    native = [t for t in targets.values() if t.cpu_flags and not missing_flags(t) and _loads_here(t.zig)]
    if not native:
        raise TargetError(
            "this processor matches none of the shipped cpu targets; give a target file of your own "
            "(.yaml) with `--target`, see `mdc targets --json` for examples."
        )
    best = max(native, key=lambda target: (target.vector_bytes, target.name))
    return best.model_copy(update={"name": "cpu", "description": f"this machine ({best.name})"})


def _loads_here(triple: str) -> bool:
    """Whether a library linked for a zig triple, "" for none, may be loaded beside Python: it is glibc's, as a rule."""
    return not triple or "-gnu" in triple


def _parse(text: str, where: str) -> Target:
    return parse_data_file(text, where, "target", Target)

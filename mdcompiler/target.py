"""Targets: machines as data.

A target is a YAML file, so a chip is added without code: those in `mdcompiler/targets/` ship, and any
path to a `.yaml` file works in their place. Sizes are bytes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field

from mdcompiler.data_file import NamedData, find_data, is_data_file, shipped_data
from mdcompiler.errors import TargetError
from mdcompiler.foreign import shortened
from mdcompiler.host import host_flags

_Word = Annotated[str, Field(max_length=1000)]


def _checked_options(options: dict[str, Any]) -> dict[str, Any]:
    """Words, whole numbers, truth values and lists of them, as TVM's targets have."""
    for name, value in options.items():
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, str | int) for part in parts):
            raise ValueError(f"{shortened(name, 80)} is neither text nor a whole number, nor a list of them")
        if len(parts) > 256 or not all(
            abs(part) < 1 << 63 if isinstance(part, int) else len(part) <= 1000 for part in parts
        ):
            raise ValueError(f"{shortened(name, 80)} is too large")
    return options


CodeOptions = Annotated[dict[_Word, Any], Field(max_length=16), AfterValidator(_checked_options)]
"""Fields of a code generator's target, as TVM has them."""


class Target(NamedData):
    """One machine.

    backend: who compiles for it. llvm: TVM target fields (kind, mtriple, mcpu, mattr).
    vector_bytes: width of one register; vector_registers: how many the ISA has.
    l1_bytes, l2_bytes: data caches of one core. alignment_bytes: of every buffer.
    units: multiprocessors of a GPU. cpu_flags: flags of /proc/cpuinfo that the binary needs.
    dtypes: numeric types it computes in.
    scheme: quantization scheme (`mdcompiler.quantization.scheme`) by name or the path of its file, "" where there are
    no integers.
    zig: target triple for the ziglang linker, when it is not this machine.
    vtcm_bytes: memory beside the vector unit that programs place data in, 0 for none.
    variants: word -> `mcpu`. `NAME@WORD` is this target with that processor, `NAME@WORD+WORD` with several of them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=100)
    backend: str = Field(min_length=1, max_length=100)
    description: str = Field(default="", max_length=2000)
    llvm: CodeOptions = Field(default_factory=dict)
    vector_bytes: int = Field(default=16, ge=4, le=1024)
    vector_registers: int = Field(default=16, ge=4, le=256)
    l1_bytes: int = Field(default=32 * 1024, ge=1024)
    l2_bytes: int = Field(default=512 * 1024, ge=1024)
    alignment_bytes: int = Field(default=64, ge=1, le=4096)
    units: int = Field(default=8, ge=1, le=4096)
    cpu_flags: tuple[_Word, ...] = Field(default=(), max_length=256)
    dtypes: tuple[_Word, ...] = Field(default=("float32",), max_length=16)
    scheme: str = ""
    zig: str = ""
    vtcm_bytes: int = Field(default=0, ge=0, le=1 << 30)
    variants: dict[_Word, _Word] = Field(default_factory=dict, max_length=64)

    @property
    def lanes(self) -> int:
        """How many float32 one vector register holds."""
        return self.vector_bytes // 4

    def variant(self, words: str) -> Target:
        """This target for other processors: words of `variants` with + between. Raises TargetError for others."""
        chosen = words.split("+")
        unknown = [word for word in chosen if word not in self.variants]
        if unknown:
            known = f"there are {', '.join(self.variants)}, several with + between" if self.variants else "it has none"
            raise TargetError(
                f"target {self.name}@{words}: {unknown[0]!r} is no variant of {self.name}; {known}. "
                f"Choose one, or leave @{words} out."
            )
        processors = ",".join(self.variants[word] for word in chosen)
        return self.model_copy(update={"name": f"{self.name}@{words}", "llvm": {**self.llvm, "mcpu": processors}})


def shipped_targets() -> dict[str, Target]:
    """The targets that come with the package, by name. `cpu` is this machine."""
    targets = _shipped()
    return {"cpu": _host(targets), **targets}


def _shipped() -> dict[str, Target]:
    return shipped_data("mdcompiler", "targets", "target", Target)


def find_target(name: str) -> Target:
    """The target called `name`, or read from the YAML file at that path; a variant of it for `NAME@WORD+WORD`.

    A scheme file that a target file names lies beside it, unless its path is absolute. Raises TargetError for an
    unknown name, an unreadable file or a bad field.
    """
    plain, at, words = name.rpartition("@")
    if at and not is_data_file(words):
        return find_target(plain).variant(words)
    found = find_data(name, "target", Target, shipped_targets)
    if not is_data_file(name) or not is_data_file(found.scheme):
        return found
    return found.model_copy(update={"scheme": str(Path(name).parent / found.scheme)})


def missing_flags(target: Target) -> list[str]:
    """The flags that `target` needs and this processor lacks."""
    return sorted(set(target.cpu_flags) - usable_flags())


def usable_flags() -> frozenset[str]:
    """The flags of this processor, or those of them that a lesser one has whose target `MDC_CPU` names.

    Raises TargetError when `MDC_CPU` names no shipped target, or one that needs more than this processor has.
    """
    flags, name = host_flags(), os.environ.get("MDC_CPU", "")
    if not name:
        return flags
    targets = {key: item for key, item in _shipped().items() if item.cpu_flags}
    if name not in targets:
        raise TargetError(f"MDC_CPU is {name!r}; it names one of {', '.join(targets)}, or nothing. Set it so.")
    lesser = targets[name]
    missing = sorted(set(lesser.cpu_flags) - flags)
    if missing:
        raise TargetError(f"MDC_CPU is {name!r}: this processor lacks {', '.join(missing)}. Name a lesser target.")
    wider = {flag for item in targets.values() if _rank(item) > _rank(lesser) for flag in item.cpu_flags}
    return flags - wider.difference(lesser.cpu_flags)


def _host(targets: dict[str, Target]) -> Target:
    """The widest shipped target whose instruction sets this processor has, under the name `cpu`."""
    native = [t for t in targets.values() if t.cpu_flags and not missing_flags(t) and _loads_here(t.zig)]
    if not native:
        raise TargetError(
            "this processor matches none of the shipped cpu targets; give a target file of your own "
            "(.yaml) with `--target`, see `mdc targets --json` for examples."
        )
    best = max(native, key=_rank)
    return best.model_copy(update={"name": "cpu", "description": f"this machine ({best.name})"})


def _rank(target: Target) -> tuple[int, str]:
    """Of two processors of one family the wider has the higher one."""
    return target.vector_bytes, target.name


def _loads_here(triple: str) -> bool:
    """Whether a library linked for a zig triple, "" for none, may be loaded beside Python: it is glibc's, as a rule."""
    return not triple or "-gnu" in triple

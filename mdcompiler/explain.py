"""Why things did not happen: places a pass left alone, kernels a backend has none of its own for; where data lies."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from mdcompiler.backend import MemoryRow, memory_rows
from mdcompiler.calibration.noise import quantize_by_noise
from mdcompiler.compile_pass import STAGES, ExplainingPass, Pass
from mdcompiler.compiler import Job
from mdcompiler.kernel import kernels
from mdcompiler.manifest import Manifest
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline
from mdcompiler.read_network import read_network
from mdcompiler.registry import backends, plugin_passes
from mdcompiler.target import shipped_targets

_CHECK = "check"
_DIRECT = "computed directly: with Winograd's filtering the network's outputs were further off than rounding explains"


@dataclass(frozen=True)
class PassRow:
    """A pass as `mdc passes` lists it. description: the first line of its docstring."""

    name: str
    stage: str
    after: tuple[str, ...]
    description: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "after": list(self.after)}


@dataclass(frozen=True)
class Reason:
    """by: pass, backend or check; where: node or kernel; reason: a sentence."""

    by: str
    where: str
    reason: str


@dataclass(frozen=True)
class Explanation:
    """Kernels by kind, every refusal, and the memory plan where the backend has one to show."""

    kinds: dict[str, int]
    refusals: tuple[Reason, ...]
    memory: tuple[MemoryRow, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: kinds, refusals, memory."""
        refusals, memory = ([asdict(row) for row in rows] for rows in (self.refusals, self.memory))
        return {"kinds": self.kinds, "refusals": refusals, "memory": memory}

    def summary(self) -> str:
        """One line: how many kernels of each kind, how many refusals."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
        return f"{sum(self.kinds.values())} kernels: {kinds}. {len(self.refusals)} refusals."


def pass_table() -> list[PassRow]:
    """Every pass by stage: built-in ones, those of plug-ins, those of backends for their shipped targets."""
    everything = [*builtin_passes(), *plugin_passes(), *_backend_passes()]
    unique = {item.name: item for item in everything}
    return [_row(item) for stage in STAGES for item in unique.values() if item.stage == stage]


def explain_job(job: Job) -> Explanation:
    """Run every stage up to emit and collect the reasons.

    A memory plan needs the integers of a target that has no floats: noise gives them.
    """
    module = read_network(job.request, job.target)
    pipeline, reasons = Pipeline(), []
    for stage in STAGES:
        if stage == "quantize" and _plans_integers(job):
            quantize_by_noise(module, pipeline)
        for item in job.passes(stage):
            pipeline.run(module, [item])
            if isinstance(item, ExplainingPass):
                reasons += [Reason(item.name, refusal.node, refusal.reason) for refusal in item.refusals(module)]
    found = kernels(module.graph)
    for kernel in found:
        refused = job.backend.why_not(kernel, job.target)
        if refused is not None:
            reasons.append(Reason(job.backend.name, kernel.name, refused))
    memory = memory_rows(job.backend, module)
    return Explanation(dict(Counter(kernel.kind for kernel in found).most_common()), tuple(reasons), tuple(memory))


def explain_artifact(manifest: Manifest) -> Explanation:
    """What became of the kernels of a compiled network: those that are not the backend's own, those that the check
    replaced because a faster one rounded too much."""
    reasons = [
        Reason(manifest.target.backend, kernel.name, kernel.fallback) for kernel in manifest.kernels if kernel.fallback
    ]
    stated = manifest.facts.get("direct_kernels")
    direct = stated if isinstance(stated, list) else []
    reasons += [Reason(_CHECK, str(name), _DIRECT) for name in direct]
    return Explanation(dict(Counter(kernel.kind for kernel in manifest.kernels).most_common()), tuple(reasons))


def _plans_integers(job: Job) -> bool:
    return hasattr(job.backend, "memory_rows") and "float32" not in job.target.dtypes


def _backend_passes() -> list[Pass]:
    known = backends()
    return [
        item
        for target in shipped_targets().values()
        if target.backend in known
        for item in known[target.backend].passes(target)
    ]


def _row(item: Pass) -> PassRow:
    description = (inspect.getdoc(type(item)) or "").partition("\n")[0]
    return PassRow(item.name, item.stage, tuple(item.after), description)

"""Fit the times of the cost model on records:

    python -m mdcompiler.backends.kernels.fit_cost_model RECORDS... [--out cost_model.json]

For each template and vector width, least squares with times >= 0 over all schedules that were measured, each
weighted by one over its time, so that errors are relative. Nothing is drawn by chance. The error is stated twice: for
the records themselves, and for each network by times fitted without its records (what a new network will see): how
much slower the schedule is that the model likes best among those measured than the fastest of them.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backends.kernels.cost_model import FILE
from mdcompiler.backends.kernels.templates import TEMPLATES, Template
from mdcompiler.target import Target, shipped_targets
from mdcompiler.tuning.canonical import canonical, complete, restored
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Record
from mdcompiler.tuning.record_file import good_records
from mdcompiler.tuning.records import Records
from mdcompiler.write_aside import write_file

_OTHER = {"name": "other", "backend": "cpu"}
Array = NDArray[np.float64]
_SWEEPS = 1000
_TURNS = 5
_FEWEST = 4
"""Workloads that a fit needs to be worth anything."""


@dataclass(frozen=True)
class Sample:
    """One record: counts [schedules, terms] and times [schedules], in nanoseconds. network: whom it was tuned for."""

    network: str
    counts: Array
    times: Array


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Fit the cost model's times on records.")
    parser.add_argument("records", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args(arguments)
    found = Records(*(good_records(file) for file in options.records)).best()
    table = fit_all(found, json.loads(FILE.read_text())["templates"])
    write_file(options.out, (json.dumps({"templates": table}, indent=1, sort_keys=True) + "\n").encode())
    for name, widths in sorted(table.items()):
        for width, item in sorted(widths.items()):
            print(f"{name} {width} bytes: {json.dumps(item.get('error', 'not fitted'))}")


def fit_all(records: Sequence[Record], before: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The model's table from records; what they say nothing about stays as `before`."""
    table = {name: dict(widths) for name, widths in before.items() if TEMPLATES[name].terms}
    for (name, width), samples in sorted(_samples(records).items()):
        if len(samples) >= _FEWEST:
            terms = TEMPLATES[name].terms
            times = fit(samples)
            nanoseconds = {term: float(f"{time:.4g}") for term, time in zip(terms, times, strict=True)}
            table.setdefault(name, {})[str(width)] = {"nanoseconds": nanoseconds, "error": errors(samples)}
    return table


def fit(samples: Sequence[Sample]) -> Array:
    """Nanoseconds of each term, all >= 0.

    Schedules of one workload are compared with one another: what makes a whole workload slower than the terms say
    (its cache misses, its activation) is a factor of its own, found in turns with the times.
    """
    factors = np.ones(len(samples))
    times = _least_squares(samples, factors)
    for _ in range(_TURNS):
        ratios = np.array([np.median(sample.counts @ times / sample.times) for sample in samples])
        factors = ratios / np.exp(np.mean(np.log(ratios)))
        times = _least_squares(samples, factors)
    return times


def _least_squares(samples: Sequence[Sample], factors: Array) -> Array:
    """Non-negative least squares of relative errors by coordinate descent; fast schedules weigh more."""
    rows, wanted_rows = [], []
    for sample, factor in zip(samples, factors, strict=True):
        weight = (sample.times.min() / sample.times) ** 2
        rows.append(sample.counts / (sample.times * factor)[:, None] * weight[:, None])
        wanted_rows.append(weight)
    matrix, targets = np.concatenate(rows), np.concatenate(wanted_rows)
    scale = np.linalg.norm(matrix, axis=0)
    scale[scale == 0] = 1.0
    matrix = matrix / scale
    product, wanted = matrix.T @ matrix, matrix.T @ targets
    found = np.zeros(matrix.shape[1])
    used = np.flatnonzero(np.diag(product))
    for _ in range(_SWEEPS):
        for term in used:
            rest = wanted[term] - product[term] @ found + product[term, term] * found[term]
            found[term] = max(0.0, rest / product[term, term])
    result: Array = found / scale
    return result


def errors(samples: Sequence[Sample]) -> dict[str, Any]:
    """How far the model is off, see the module's text."""
    networks = sorted({sample.network for sample in samples})
    fitted = fit(samples)
    own = [slowdown(sample, fitted) for sample in samples]
    other: list[float] = []
    for network in networks if len(networks) > 1 else ():
        times = fit([sample for sample in samples if sample.network != network])
        other += [slowdown(sample, times) for sample in samples if sample.network == network]
    return {"workloads": len(samples), "networks": networks, "fitted": _spread(own), "left_out": _spread(other)}


def slowdown(sample: Sample, times: Array) -> float:
    """Time of the schedule that the model likes best over the shortest time."""
    chosen = int(np.argmin(sample.counts @ times))
    return float(sample.times[chosen] / sample.times.min())


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    parts = {"median": np.median(values), "p90": np.quantile(values, 0.9), "worst": np.max(values)}
    return {name: round(float(value), 3) for name, value in parts.items()}


def _samples(records: Sequence[Record]) -> dict[tuple[str, int], list[Sample]]:
    found: dict[tuple[str, int], list[Sample]] = defaultdict(list)
    for record in records:
        template = TEMPLATES.get(record.template)
        if template is None or template.version != record.version or template.counts is None:
            continue
        sample = _sample(template, record)
        if len(sample.times) > 1:
            found[record.template, record.machine.vector_bytes].append(sample)
    return found


def _sample(template: Template, record: Record) -> Sample:
    target = _target(record.machine)
    work: Any = restored(template.workload, record.workload)
    schedules = {canonical(complete(item)): item for item in template.space(work, target)}
    counts, times = [], []
    for item in record.measured:
        schedule = schedules.get(canonical(item.schedule))
        if schedule is not None and item.min_ns is not None and template.counts is not None:
            counts.append(template.counts(work, schedule, target))
            times.append(item.min_ns)
    return Sample(record.network, np.array(counts, np.float64), np.array(times, np.float64))


def _target(machine: Machine) -> Target:
    """The shipped target of that name, or one with its vectors and ordinary caches."""
    same = [target for target in shipped_targets().values() if Machine.of(target) == machine]
    return same[0] if same else Target.model_validate({**machine.model_dump(exclude={"flags"}), **_OTHER})


if __name__ == "__main__":
    main()

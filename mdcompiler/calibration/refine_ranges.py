"""Choose ranges again where rounding a tensor spoils the network's own results.

A rule that looks at one tensor by itself (least square error, a percentile) does not know what the next layers make
of it: the first blocks of MobileDet-CPU have few channels, one of which reaches far, and filters that look at small
differences between pixels. Here every candidate is judged by the noise in the network's ends, on samples, all else
being real numbers (cf. Nahshan et al., "Loss Aware Post-training Quantization", 2021). To keep it short,

1. blocks are rounded one at a time on few samples, then the tensors of those that make a good share of all noise;
2. for each tensor that does, its range is narrowed step by step from either end or from both while that helps and
   hardly any value is cut off;
3. then the next round, because what was drowned by the worst blocks shows only now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mdcompiler.calibration.calibrate import from_bytes, observed, useful_intervals, with_views
from mdcompiler.calibration.probe import Arrays, Probe
from mdcompiler.calibration.ranges import Ranges
from mdcompiler.calibration.samples import Samples
from mdcompiler.calibration.simulate import Range, Simulator
from mdcompiler.module import Module
from mdcompiler.names import block_of
from mdcompiler.progress import Progress, silent

ROUNDS = 3
_FEW, _MORE = 4, 8
"""Samples that blocks and tensors are compared on; the order hardly changes with more."""
_GOOD = 10**-3.0
"""Noise that is not worth a search: 30 dB below the ends."""
_BLOCK_SHARE, _TENSOR_SHARE = 0.05, 0.05
"""Shares of all noise below which a block or a tensor is left alone."""
_MOST_CUT = 0.02
"""Share of a tensor's values that may be cut off."""
_MENDED = 0.5
"""Share of a tensor's noise that is left where a round was worth another."""
_FACTORS = (0.85, 0.7, 0.6, 0.5, 0.42, 0.35, 0.28, 0.22, 0.15)
_FIXED = ("Sigmoid", "HardSigmoid")
"""Operators whose results have the range 0 to 1 by nature."""


@dataclass(frozen=True)
class Refined:
    """One range that was changed. before, after: (low, high); noise: share of what it did to the ends that is left."""

    tensor: str
    before: Range
    after: Range
    noise: float


def refine_ranges(
    module: Module, ranges: Ranges, samples: Samples, ends: Sequence[str], progress: Progress = silent
) -> tuple[Ranges, list[Refined]]:
    """`ranges` with those narrowed that the tensors `ends` gain from, and what was changed."""
    several = [sample for _, sample in zip(range(_MORE), samples, strict=False)]
    names = [name for name in _candidates(module) if name in ranges]
    everything = _EndNoise(module, names, ends, several[:_FEW])
    changed: dict[str, Refined] = {}
    for index in range(ROUNDS):
        progress("refining ranges", index, ROUNDS)
        found = _round(module, everything, {**ranges, **_after(changed)}, ends, several, set(changed))
        changed.update((row.tensor, row) for row in found)
        if all(row.noise > _MENDED for row in found):
            break
    progress("refining ranges", ROUNDS, ROUNDS)
    return with_views(module.graph, {**ranges, **_after(changed)}), list(changed.values())


def _round(
    module: Module, everything: _EndNoise, ranges: Ranges, ends: Sequence[str], several: list[Arrays], done: set[str]
) -> list[Refined]:
    blocks = _noisy({block: everything.of(ranges, names) for block, names in _by_block(everything.names).items()})
    worst = [name for name in everything.names if block_of(name) in blocks and name not in done]
    if not worst:
        return []
    noise = _EndNoise(module, worst, ends, several)
    chosen = _noisy({name: noise.of(ranges, [name]) for name in worst}, _TENSOR_SHARE)
    values = _values(module, chosen, several)
    rows = [_narrow(name, ranges[name], noise, values[name]) for name in chosen]
    return [row for row in rows if row.after != row.before]


def _after(changed: Mapping[str, Refined]) -> Ranges:
    return {name: row.after for name, row in changed.items()}


class _EndNoise:
    """Noise power of the ends in units of their own power, summed over ends."""

    def __init__(self, module: Module, names: Sequence[str], ends: Sequence[str], samples: Sequence[Arrays]) -> None:
        self._simulator = Simulator(module.graph, names, ends)
        self.names, self._samples = self._simulator.names, samples
        self._real = [self._simulator.run(sample, {}) for sample in samples]
        self._power = [sum(float(np.square(row[end]).sum()) for row in self._real) for end in range(len(ends))]

    def of(self, ranges: Mapping[str, Range], names: Sequence[str]) -> float:
        """The noise while the tensors `names` are integers that cover `ranges`, and all else is real."""
        total, rounded = 0.0, {name: ranges[name] for name in names}
        for sample, real in zip(self._samples, self._real, strict=True):
            rows = zip(real, self._simulator.run(sample, rounded), self._power, strict=True)
            total += sum(float(np.square(a - b).sum()) / power for a, b, power in rows if power > 0)
        return total


def _candidates(module: Module) -> list[str]:
    """The tensors whose integers have a range of their own choosing."""
    tensors, outputs = module.graph.tensors(), {tensor.name for tensor in module.graph.outputs}
    found = (tensors[name] for name in observed(module.graph) if name not in outputs)
    return [t.name for t in found if t.outputs and t.inputs[0].op not in _FIXED and not from_bytes(t)]


def _by_block(names: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(block_of(name), []).append(name)
    return groups


def _noisy(noise: Mapping[str, float], share: float = _BLOCK_SHARE) -> list[str]:
    """Those that make at least `share` of the noise of all, the worst first; none when all of it is small."""
    total = sum(noise.values())
    found = [name for name in noise if noise[name] >= share * total > share * _GOOD]
    return sorted(found, key=lambda name: -noise[name])


def _values(module: Module, names: Sequence[str], samples: Sequence[Arrays]) -> dict[str, NDArray[np.float32]]:
    """What the tensors `names` hold on `samples`, where the function after them is not flat."""
    if not names:
        return {}
    probe, useful = Probe(module.graph, names), useful_intervals(module.graph, names)
    rows = [probe.run(sample) for sample in samples]
    found = {name: np.concatenate([row[name].reshape(-1) for row in rows]) for name in names}
    return {name: np.clip(found[name], *useful[name]) if name in useful else found[name] for name in names}


def _narrow(name: str, before: Range, noise: _EndNoise, values: NDArray[np.float32]) -> Refined:
    first = lowest = noise.of({name: before}, [name])
    best = before
    for factor in _FACTORS:
        pairs = [pair for pair in _narrower(before, factor) if _cut(values, pair) <= _MOST_CUT]
        costs = {pair: noise.of({name: pair}, [name]) for pair in pairs}
        pair = min(costs, key=lambda item: costs[item], default=before)
        if costs.get(pair, lowest) < lowest:
            best, lowest = pair, costs[pair]
        elif factor < 0.6:
            break
    return Refined(name, before, best, lowest / first if first else 1.0)


def _narrower(pair: Range, factor: float) -> Iterator[Range]:
    low, high = pair
    yield from dict.fromkeys([(low, high * factor), (low * factor, high), (low * factor, high * factor)])


def _cut(values: NDArray[np.float32], pair: Range) -> float:
    return float(np.count_nonzero((values < pair[0]) | (values > pair[1])) / max(values.size, 1))

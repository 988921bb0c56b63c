"""Give the channels between two convolutions like ranges, so that one scale serves them all.

    conv A -> [Relu | Clip(0,6) | nothing] -> conv B      A's channel c is divided by s[c], B's input c multiplied

Cross-layer equalization (Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
2019). There s balances the weights of A and B. With weights per channel A's need no help, and ranges of activations
matter as much, so s is chosen among before^a / after^b, a and b in quarters (before: ranges ahead of the cut, after:
B's), by the noise that rounding activations and weights is expected to make in B's result; a pair that gains nothing
is left alone.
Which pairs, and how far:

1. nothing or Relu between: any positive s, the function stays what it was;
2. Clip(0,6), only with `clamped`: a channel that stays below 6 on all samples may be scaled up until it reaches
   6 / `margin`; the clamp, which then acts at `margin` times the largest value seen, is not touched by the data.
   A channel that reaches 6 stays as it is. Other pictures may go beyond what was seen: on the deep, small layers
   of a detector that costs more than equalizing gains (measured: 5 dB of the boxes with 8 pictures), so it is off;
3. HardSwish, Swish, Sigmoid: f(s x) is not s f(x), nothing is done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.activation import activation_after
from mdcompiler.calibration.patches import convolutions
from mdcompiler.calibration.probe import Probe
from mdcompiler.calibration.samples import ListedSamples, Samples
from mdcompiler.compile_pass import Stage
from mdcompiler.constants import assign, constant, optional_input
from mdcompiler.module import Module, only_consumer
from mdcompiler.names import kernel_path
from mdcompiler.passes.insert_qdq import is_quantized, scheme_of
from mdcompiler.quantization.scheme import Scheme
from mdcompiler.same_everywhere import power_quarters

Array = NDArray[Any]
_LARGEST = 64.0


@dataclass(frozen=True)
class _Pair:
    """first -> (rectifier up to `high`) -> second; between: the tensor that second reads."""

    first: gs.Node
    second: gs.Node
    between: str
    high: float


@dataclass
class _Seen:
    """Values between a pair on the samples: largest magnitude and mean square of every channel [C].

    power_before: mean square of what the first convolution reads.
    """

    peaks: Array
    power: Array
    power_before: float = 0.0


@dataclass(frozen=True)
class EqualizeCrossLayer:
    """Equalize every pair of convolutions in a row.

    samples: of calibration; without them nothing is done. scheme: the target's where it is None.
    clamped: also through clamps. margin: room below a clamp's bound, as a factor on the largest value seen.
    worthwhile: share of the expected noise that must at most be left for a pair to be changed.
    """

    samples: Samples = field(default_factory=lambda: ListedSamples([]))
    scheme: Scheme | None = None
    clamped: bool = False
    margin: float = 1.5
    worthwhile: float = 0.9

    name: ClassVar[str] = "equalize-cross-layer"
    stage: ClassVar[Stage] = "quantize"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        pairs = [pair for pair in _pairs(module.graph) if self.clamped or np.isinf(pair.high)]
        if not len(self.samples) or not pairs or is_quantized(module):
            return 0
        scheme = self.scheme or scheme_of(module)
        seen = _watch(module.graph, pairs, self.samples)
        return sum(self._equalize(module.graph, pair, seen[pair.between], scheme) for pair in pairs)

    def _equalize(self, graph: gs.Graph, pair: _Pair, seen: _Seen, scheme: Scheme) -> int:
        noise = pair_noise(pair, seen, scheme)
        candidates = [self._allowed(pair, seen.peaks, wanted) for wanted in _wanted(pair, seen.peaks, scheme)]
        factor = min(candidates, key=noise)
        if noise(factor) > self.worthwhile * noise(np.ones_like(factor)):
            return 0
        _divide_outputs(graph, pair.first, factor)
        _multiply_inputs(graph, pair.second, factor)
        return 1

    def _allowed(self, pair: _Pair, peaks: Array, factor: Array) -> Array:
        factor = np.clip(factor, 1 / _LARGEST, _LARGEST)
        if np.isfinite(pair.high):
            factor = np.clip(factor, np.minimum(peaks * self.margin / pair.high, 1.0), 1.0)
        return np.where(peaks <= 0, 1.0, factor)


def _pairs(graph: gs.Graph) -> list[_Pair]:
    found = (_pair(graph, node) for node in convolutions(graph))
    return [pair for pair in found if pair is not None]


def _pair(graph: gs.Graph, first: gs.Node) -> _Pair | None:
    tensor, high = first.outputs[0], np.inf
    activation = activation_after(tensor)
    if activation is not None:
        if activation.kind not in ("relu", "clip") or activation.low != 0.0 or only_consumer(graph, tensor) is None:
            return None
        tensor, high = activation.output, activation.high
    second = only_consumer(graph, tensor)
    if second is None or not any(second is node for node in convolutions(graph)):
        return None
    bias = optional_input(first, 2)
    if bias is not None and constant(bias) is None:
        return None
    channels, groups = first.inputs[1].values.shape[0], int(second.attrs.get("group", 1))
    return _Pair(first, second, tensor.name, high) if groups in (1, channels) else None


def _watch(graph: gs.Graph, pairs: list[_Pair], samples: Samples) -> dict[str, _Seen]:
    """What lies between every pair, by the name of the tensor."""
    probe = Probe(graph, [name for pair in pairs for name in (pair.between, pair.first.inputs[0].name)])
    channels = {pair.between: pair.first.inputs[1].values.shape[0] for pair in pairs}
    seen = {name: _Seen(np.zeros(count), np.zeros(count)) for name, count in channels.items()}
    for sample in samples:
        arrays = probe.run(sample)
        for pair in pairs:
            values, found = arrays[pair.between][0].astype(np.float64), seen[pair.between]
            found.peaks = np.maximum(found.peaks, np.abs(values).max(axis=(1, 2)))
            found.power += np.square(values).mean(axis=(1, 2)) / len(samples)
            found.power_before += float(np.square(arrays[pair.first.inputs[0].name]).mean()) / len(samples)
    return seen


def pair_noise(pair: _Pair, seen: _Seen, scheme: Scheme) -> Callable[[Array], float]:
    """Scales of the channels -> expected noise power in the second convolution's result, in units of its own.

    Rounding to steps makes noise of step^2 / 12, independent from weight to weight and value to value.
    """
    first, second = (node.inputs[1].values.astype(np.float64) for node in (pair.first, pair.second))
    depthwise = _depthwise(pair.second)
    by_input = second.reshape(seen.peaks.size, -1) if depthwise else second.swapaxes(0, 1).reshape(seen.peaks.size, -1)
    energy, rows = np.square(by_input).sum(axis=1), _largest(first, (1, 2, 3))

    def noise(factor: Array) -> float:
        step = np.minimum(seen.peaks / factor, pair.high).max() / 255
        total = step * step * float((factor * factor * energy).sum())
        total += _weight_noise(second, factor, seen.power, depthwise, scheme.per_channel)
        if not scheme.per_channel:
            width = (rows / factor).max() / 127
            total += width * width * first[0].size * seen.power_before * float((factor * factor * energy).sum())
        return float(total)

    return noise


def _weight_noise(weight: Array, factor: Array, power: Array, depthwise: bool, per_channel: bool) -> float:
    """Noise from the second convolution's own weights, whose input channel c is multiplied by factor[c]."""
    if depthwise:
        scaled = np.abs(weight.reshape(factor.size, -1)) * factor[:, None]
        largest = scaled.max(axis=1) if per_channel else scaled.max()
        return float((np.square(largest / 127) * scaled.shape[1] * power / np.square(factor)).sum())
    peaks = (np.abs(weight).max(axis=(2, 3)) * factor).max(axis=1)
    peaks = peaks if per_channel else np.full_like(peaks, peaks.max())
    return float(np.square(peaks / 127).sum() * weight[0, 0].size * (power / np.square(factor)).sum())


def _wanted(pair: _Pair, peaks: Array, scheme: Scheme) -> list[Array]:
    """Scales to choose from, the one that changes nothing first."""
    before = peaks if scheme.per_channel else _largest(pair.first.inputs[1].values, (1, 2, 3))
    weight = pair.second.inputs[1].values
    after = _largest(weight, (1, 2, 3) if _depthwise(pair.second) else (0, 2, 3)).reshape(peaks.size, -1).max(axis=1)
    before, after = (np.maximum(item / max(item.max(), 1e-12), 1e-6) for item in (before, after))
    return [power_quarters(before, a) / power_quarters(after, b) for a in range(5) for b in range(3)]


def _depthwise(node: gs.Node) -> bool:
    return int(node.attrs.get("group", 1)) > 1


def _largest(weight: Array, axes: tuple[int, ...]) -> Array:
    return np.asarray(np.abs(weight).max(axis=axes), np.float64)


def _divide_outputs(graph: gs.Graph, node: gs.Node, factor: Array) -> None:
    weight, path = node.inputs[1].values, kernel_path(node.name)
    bias = constant(optional_input(node, 2))
    assign(graph, node, 1, (weight / factor[:, None, None, None]).astype(weight.dtype), f"{path}/weight")
    if bias is not None:
        assign(graph, node, 2, (bias / factor).astype(bias.dtype), f"{path}/bias")


def _multiply_inputs(graph: gs.Graph, node: gs.Node, factor: Array) -> None:
    weight = node.inputs[1].values
    if _depthwise(node):
        by_filter = np.repeat(factor, weight.shape[0] // factor.size)
        scaled = weight * by_filter[:, None, None, None]
    else:
        scaled = weight * factor[None, :, None, None]
    assign(graph, node, 1, scaled.astype(weight.dtype), f"{kernel_path(node.name)}/weight")

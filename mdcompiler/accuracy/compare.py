"""A quantized network against its float original, on samples: the numbers that gates and tables judge.

Both graphs run in ONNX Runtime without optimisation: the quantized one as Q/DQ nodes around float operators, which
is what the integer reference computes within one step. Only sums are kept from one sample to the next.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.accuracy.head import DetectorHead, end_tensors, find_head
from mdcompiler.accuracy.metrics import Anchors, Noise
from mdcompiler.accuracy.quantizers import Quantizer, quantizers, read_back
from mdcompiler.activation import activation_after
from mdcompiler.calibration.calibrate import useful_intervals
from mdcompiler.calibration.probe import Probe
from mdcompiler.calibration.samples import Samples
from mdcompiler.kernel import kernels
from mdcompiler.module import Module, is_output
from mdcompiler.names import block_of
from mdcompiler.progress import Progress, silent

Arrays = dict[str, NDArray[Any]]
_NEAR = 0.05
"""Share of a range by which a value may be outside: clipping it costs less than a wider range would."""


@dataclass(frozen=True)
class BlockAccuracy:
    """One block. snr_db: of its last tensor; saturation: largest share of a tensor that its integers cannot hold."""

    block: str
    snr_db: float
    saturation: float


@dataclass(frozen=True)
class Accuracy:
    """What quantization changed.

    samples: how many were compared. ends_db: signal-to-noise of every end tensor. changed_share, lost_share,
    box_error_px: see `metrics.Anchors`; None for a network that is no detector. blocks: in order of execution.
    head_steps: block of a prediction convolution -> how many steps of its scale its real values span.
    map_points, map_lost: mean average precision on annotated pictures and how much less than the float network's that
    is, in points of 100; None where it was not measured.
    """

    samples: int
    ends_db: dict[str, float]
    changed_share: float | None = None
    lost_share: float | None = None
    box_error_px: float | None = None
    blocks: tuple[BlockAccuracy, ...] = ()
    head_steps: dict[str, float] = field(default_factory=dict)
    map_points: float | None = None
    map_lost: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @property
    def worst_db(self) -> float:
        """The signal-to-noise of the worst end."""
        return min(self.ends_db.values(), default=0.0)


def compare(
    original: Module, quantized: Module, samples: Samples, progress: Progress = silent, ends_only: bool = False
) -> Accuracy:
    """Run both networks over `samples`.

    original: the float network as the fuse stage leaves it; quantized: the same with Q/DQ nodes.
    ends_only: leave out what needs tensors inside (blocks, head_steps); much faster.
    """
    work = _Comparison(original, quantized, ends_only)
    for index, sample in enumerate(samples):
        progress("comparing", index, len(samples))
        work.update(sample)
    progress("comparing", len(samples), len(samples))
    return work.result(len(samples))


class _Comparison:
    def __init__(self, original: Module, quantized: Module, ends_only: bool) -> None:
        self.ends = end_tensors(original)
        self.last = {} if ends_only else block_ends(original.graph)
        self.held = {} if ends_only else _held(original.graph, quantized.graph)
        self.spans = {} if ends_only else {name: [np.inf, -np.inf] for name in _predictions(original.graph)}
        self.pairs = self._pairs(quantized.graph)
        self.want = Probe(original.graph, [*self.pairs, *self.held, *self.spans])
        self.got = Probe(quantized.graph, list(self.pairs.values()))
        self.noise = {name: Noise() for name in self.pairs}
        self.outside = dict.fromkeys(self.held, 0)
        self.sizes = dict.fromkeys(self.held, 0)
        # beyond the ends of a hard-swish's slope saturation is exact, and calibration cuts there on purpose
        self.useful = useful_intervals(original.graph, self.held)
        head: DetectorHead | None = find_head(original)
        self.anchors = Anchors(head) if head else None

    def _pairs(self, graph: gs.Graph) -> dict[str, str]:
        """Tensor of the float graph -> tensor of `graph` to compare it with."""
        outputs = {tensor.name for tensor in graph.outputs}
        found = {
            name: name if name in outputs else read_back(graph, name) for name in (*self.last.values(), *self.ends)
        }
        return {name: other for name, other in found.items() if other is not None}

    def update(self, sample: Arrays) -> None:
        want, raw = self.want.run(sample), self.got.run(sample)
        got = {name: raw[other] for name, other in self.pairs.items()}
        for name, noise in self.noise.items():
            noise.update(want[name], got[name])
        for name, quantizer in self.held.items():
            margin = max(quantizer.scale / 2, _NEAR * (quantizer.high - quantizer.low))
            values = np.clip(want[name], *self.useful[name]) if name in self.useful else want[name]
            beyond = (values < quantizer.low - margin) | (values > quantizer.high + margin)
            self.outside[name] += int(np.count_nonzero(beyond))
            self.sizes[name] += beyond.size
        for name, span in self.spans.items():
            span[0], span[1] = min(span[0], float(want[name].min())), max(span[1], float(want[name].max()))
        if self.anchors is not None:
            self.anchors.update(want, got)

    def result(self, samples: int) -> Accuracy:
        saturation: dict[str, float] = {}
        for name, count in self.outside.items():
            block = place_of(name)
            saturation[block] = max(saturation.get(block, 0.0), count / max(self.sizes[name], 1))
        blocks = tuple(
            BlockAccuracy(block, self.noise[name].decibels, saturation.get(block, 0.0))
            for block, name in self.last.items()
            if name in self.noise
        )
        ends = {name: self.noise[name].decibels for name in self.ends if name in self.noise}
        steps = {place_of(n): (s[1] - s[0]) / self.held[n].scale for n, s in self.spans.items() if n in self.held}
        shares = self.anchors
        if shares is None:
            return Accuracy(samples, ends, blocks=blocks, head_steps=steps)
        return Accuracy(samples, ends, shares.changed_share, shares.lost_share, shares.box_error_px, blocks, steps)


def place_of(name: str) -> str:
    """The block of a tensor or kernel; of a detector's head its branch, `head/l0/class`, which has a scale of its own.

    >>> place_of("head/l0/class/pw/conv"), place_of("C4/b2.ibn/expand/conv")
    ('head/l0/class', 'C4/b2.ibn')
    """
    parts = name.split("/")
    return "/".join(parts[:3]) if parts[0] == "head" and len(parts) > 3 else block_of(name)


def block_ends(graph: gs.Graph) -> dict[str, str]:
    """Block -> the last float tensor that its kernels write, in order of execution.

    A sigmoid by itself does not count: its result is small wherever nothing is seen, so its noise says nothing;
    the logits before it and the anchors after it do.
    """
    found: dict[str, str] = {}
    for kernel in kernels(graph):
        floats = [tensor.name for tensor in kernel.outputs if tensor.dtype == np.float32]
        if floats and kernel.kind != "postprocess" and [node.op for node in kernel.nodes] != ["Sigmoid"]:
            found[place_of(kernel.name)] = floats[-1]
    return found


def _held(original: gs.Graph, quantized: gs.Graph) -> dict[str, Quantizer]:
    """Float tensor -> the quantizer that has to hold its values; behind a rectifier where one follows."""
    tensors = original.tensors()
    found: dict[str, Quantizer] = {}
    for name, quantizer in quantizers(quantized).items():
        tensor = tensors.get(name)
        if tensor is not None and tensor.inputs:
            found[rectified(original, tensor).name] = quantizer
    return found


def rectified(graph: gs.Graph, tensor: gs.Tensor) -> gs.Tensor:
    """The result of the rectifier that `tensor` goes into and nothing else does, else `tensor`."""
    activation = None if is_output(graph, tensor) else activation_after(tensor)
    return activation.output if activation is not None and activation.kind in ("relu", "clip") else tensor


def _predictions(graph: gs.Graph) -> list[str]:
    """The results of the prediction convolutions."""
    return [
        node.outputs[0].name
        for kernel in kernels(graph)
        if kernel.kind == "head"
        for node in kernel.nodes
        if node.op == "Conv"
    ]

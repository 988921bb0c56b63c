"""Calibration: run the float network over samples and find the range of every tensor.

The graph is taken as the fuse stage leaves it. Every float tensor in it gets a range, but

* a convolution's or sum's result that goes into a rectifier only (relu, relu6): the rectifier's result is what
  becomes integers;
* views (Reshape, Transpose, Identity ...) hold the same values as their source and share its range;
* what hard-swish reads below -3, and hard-sigmoid outside of its slope, is not looked at: the result is the same;
* the input's bytes on their way to real numbers, up to the last one.

onnxruntime.quantization has calibrators too. They keep the outputs of all samples until the end (or of
`max_intermediate_outputs`, for min-max only), want the model in a file, cut both ends alike in their entropy
rule, and have no square-error rule; so this is our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from mdcompiler.activation import activation_after
from mdcompiler.calibration.observers import Observer, observer_factory
from mdcompiler.calibration.probe import Arrays, Probe
from mdcompiler.calibration.ranges import Ranges
from mdcompiler.calibration.samples import Samples
from mdcompiler.errors import InputError
from mdcompiler.kernel import KERNEL
from mdcompiler.module import Module, consumers, is_output
from mdcompiler.progress import Progress, silent

VIEWS = frozenset({"Reshape", "Transpose", "Identity", "Flatten", "Squeeze", "Unsqueeze"})
DEFAULT_METHOD = "mse"
_RECTIFIERS = ("relu", "clip")
_TOO_LARGE = 1e30
Interval = tuple[float, float]


def calibrate(module: Module, samples: Samples, method: str = DEFAULT_METHOD, progress: Progress = silent) -> Ranges:
    """The range of every tensor of `module` that may become integers, over `samples`.

    method: a key of `mdcompiler.calibration.observers.METHODS`.
    Raises InputError when a tensor is not finite on some sample, UnsupportedError for an unknown method.
    """
    make = observer_factory(method)
    inner = observed(module.graph)
    probe = Probe(module.graph, inner)
    names = [*(tensor.name for tensor in module.graph.inputs if tensor.dtype == np.float32), *inner]
    observers = {name: make() for name in names}
    useful = useful_intervals(module.graph, names)
    for index, sample in enumerate(samples):
        progress("calibrating", index, len(samples))
        _update(observers, {**sample, **probe.run(sample)}, useful, index)
    progress("calibrating", len(samples), len(samples))
    ranges = {name: observer.range() for name, observer in observers.items()}
    return with_views(module.graph, ranges)


def observed(graph: gs.Graph) -> list[str]:
    """The tensors that `calibrate` looks at, in graph order."""
    return [
        tensor.name
        for node in graph.nodes
        if node.op not in VIEWS and node.domain != "mdc"
        for tensor in node.outputs
        if tensor.dtype == np.float32 and not _rectified(graph, tensor) and not _input_on_its_way(graph, tensor)
    ]


def with_views(graph: gs.Graph, ranges: Mapping[str, tuple[float, float]]) -> Ranges:
    """`ranges`, and every view's, which is its source's."""
    found = dict(ranges)
    for node in graph.nodes:
        if node.op in VIEWS and node.inputs[0].name in found:
            found[node.outputs[0].name] = found[node.inputs[0].name]
    return found


def _rectified(graph: gs.Graph, tensor: gs.Tensor) -> bool:
    activation = None if is_output(graph, tensor) or _leaves_kernel(tensor) else activation_after(tensor)
    return activation is not None and activation.kind in _RECTIFIERS


def _leaves_kernel(tensor: gs.Tensor) -> bool:
    """Whether another kernel than its own reads `tensor`, which may then have to be integers."""
    own = tensor.inputs[0].attrs.get(KERNEL)
    return any(reader.attrs.get(KERNEL) != own for reader in consumers(tensor))


def _input_on_its_way(graph: gs.Graph, tensor: gs.Tensor) -> bool:
    """Whether `tensor` is a step from the picture's bytes to its normalised values, but not the last."""
    readers = consumers(tensor)
    steps = ("Transpose", "Mul", "Add", "Sub", "Div")
    inside = bool(readers) and not _leaves_kernel(tensor)
    return inside and from_bytes(tensor) and all(node.op in steps for node in readers)


def from_bytes(tensor: gs.Tensor) -> bool:
    """Whether `tensor` is the picture's bytes, or a step on their way to normalised values."""
    while tensor.inputs and tensor.inputs[0].op in ("Transpose", "Mul", "Add", "Sub", "Div"):
        variables = [item for item in tensor.inputs[0].inputs if isinstance(item, gs.Variable)]
        if len(variables) != 1:
            return False
        tensor = variables[0]
    return bool(tensor.inputs) and tensor.inputs[0].op == "Cast"


def useful_intervals(graph: gs.Graph, names: Iterable[str]) -> dict[str, Interval]:
    """Tensor -> the interval outside of which the function that reads it is flat, so that saturation is exact."""
    tensors = graph.tensors()
    found = {}
    for name in names:
        activation = None if is_output(graph, tensors[name]) else activation_after(tensors[name])
        if activation is not None and activation.kind == "hard_swish":
            found[name] = (-3.0, np.inf)
        elif activation is not None and activation.kind == "hard_sigmoid" and activation.alpha > 0:
            found[name] = (-activation.beta / activation.alpha, (1 - activation.beta) / activation.alpha)
    return found


def _update(observers: Mapping[str, Observer], arrays: Arrays, useful: Mapping[str, Interval], index: int) -> None:
    for name, observer in observers.items():
        values = arrays[name]
        if not abs(float(values.max())) + abs(float(values.min())) < _TOO_LARGE:
            raise InputError(
                f"calibrating: {name} is not finite on sample {index}. "
                "The weights or this sample are damaged: run the float network on it first."
            )
        observer.update(np.clip(values, *useful[name]) if name in useful else values)

"""The integer reference: a quantized network run with exactly the scheme's integer arithmetic.

It is the arbiter: every backend's integers are compared with these, bit for bit or within the stated distance.
Kernels that stay float run on the ONNX reference. The arithmetic, with z zero points and s scales:

* conv: `acc = bias + sum (x - zx)(w - zw)`; `y = acc * (sx sw / sy) + zy`
* add: `y = (a - za)(sa / sy) + (b - zb)(sb / sy) + zy`
* pool (global average): `acc = sum (x - zx)`; `y = acc * (sx / (n sy)) + zy`
* product: `acc = (a - za)(b - zb)`; `y = acc * (sa sb / sy) + zy`
* requantize, and parts of a concatenation that have another scale: `y = (x - zx)(sx / sy) + zy`
* table: an entry for every input (`mdcompiler.quantization.curves`); move: the integers as they are

Rounding is the scheme's (`mdcompiler.quantization.rounding`); the result is then clamped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.kernel import Kernel, kernels
from mdcompiler.known import unknown
from mdcompiler.module import Module, export
from mdcompiler.operators import attach_functions
from mdcompiler.quantization.affine import bounds
from mdcompiler.quantization.check_powers import check_powers
from mdcompiler.quantization.curves import table
from mdcompiler.quantization.integer_ops import convolve
from mdcompiler.quantization.no_wrap import check_no_wrap
from mdcompiler.quantization.rounding import conv_multiplier, rescale, rescale_mean, rescale_part, rescale_sum
from mdcompiler.quantization.scheme import Scheme
from mdcompiler.quantization.split import Operation
from mdcompiler.quantization.steps import Port, Step, is_integer, read_steps
from mdcompiler.reference import run_reference

Array = NDArray[Any]
_HALF_UNIT = 2.0**-24
"""Largest relative error of one rounding to float32."""


def run_integer(network: Module | gs.Graph, scheme: Scheme, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor that a kernel or an integer operation inside one makes, by name, integers as integers.

    inputs: the graph's inputs. Raises UnsupportedError when an accumulator may wrap (its block is named) or the
    graph is no quantized graph of this toolkit.
    """
    return IntegerReference(network, scheme).run(inputs)


class IntegerReference:
    """A quantized network, read and proved once, to be run on many inputs.

    nudge: what float kernels give is changed by up to that many float32 roundings, at random from `seed`, as another
    order of their sums may; integers stay exact.
    """

    def __init__(self, network: Module | gs.Graph, scheme: Scheme, nudge: float = 0.0, seed: int = 0) -> None:
        self._nudge, self._random = nudge, np.random.default_rng(seed)
        graph = network.graph if isinstance(network, Module) else network
        self.graph = graph
        self.scheme = scheme
        self.kernels = kernels(graph)
        self.steps = {kernel.name: read_steps(kernel) for kernel in self.kernels if is_integer(kernel)}
        if scheme.rounding == "power-of-two":
            for step in (step for steps in self.steps.values() for step in steps):
                check_powers(step)
        self.bounds = {step.output.name: check_no_wrap(step) for steps in self.steps.values() for step in steps}

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `run_integer`."""
        values = dict(inputs)
        for kernel in self.kernels:
            if kernel.name in self.steps:
                for step in self.steps[kernel.name]:
                    values[step.output.name] = self.run_step(step, [values[port.name] for port in step.inputs])
            else:
                made = _run_float(self.graph, kernel, values)
                values.update({name: self._nudged(array) for name, array in made.items()})
        return {name: array for name, array in values.items() if name not in inputs}

    @property
    def has_floats(self) -> bool:
        """Whether a kernel computes in float and hands integers on: a rounding in it may move one by a step."""
        return any(kernel.kind == "quantize" and not _enters(kernel, self.graph) for kernel in self.kernels)

    def _nudged(self, array: Array) -> Array:
        if not self._nudge or array.dtype != np.float32:
            return array
        change = self._nudge * _HALF_UNIT * self._random.uniform(-1, 1, array.shape)
        return np.asarray(array * (1 + change), np.float32)

    def run_step(self, step: Step, arrays: list[Array]) -> Array:
        """The result of one operation on the integers `arrays`, of the output's type and shape."""
        if step.operation == "move":
            assert step.node is not None, "only requantize has no node"
            return _move(step.node, arrays[0], step.output)
        if step.operation == "table":
            entries = table(step, self.scheme.rounding)
            return entries[arrays[0].astype(np.int64) - bounds(step.inputs[0].dtype)[0]]
        if step.operation == "concat":
            assert step.node is not None, "only requantize has no node"
            parts = [self._part(item, port, step) for item, port in zip(arrays, step.inputs, strict=True)]
            return np.concatenate(parts, axis=int(step.node.attrs["axis"]))
        if step.operation == "requantize":
            return self._requantize(arrays[0], step.inputs[0], step)
        return self._saturate(self._sum(step, arrays), step)

    def _sum(self, step: Step, arrays: list[Array]) -> Array:
        """The rescaled accumulator of conv, add, pool and product, without the zero point."""
        rounding, scale = self.scheme.rounding, step.output.scale
        centred = [item.astype(np.int64) - port.zero_point for item, port in zip(arrays, step.inputs, strict=True)]
        first = step.inputs[0].scale
        if step.operation == "conv":
            return self._conv(step, centred[0])
        if step.operation == "add":
            return rescale_sum(centred[0], centred[1], (first, step.inputs[1].scale, scale), rounding, step.wide)
        if step.operation == "pool":
            total, count = centred[0].sum(axis=(2, 3), keepdims=True), centred[0].shape[2] * centred[0].shape[3]
            return rescale_mean(total, count, (first, scale), rounding, step.wide)
        if step.operation == "product":
            return rescale(centred[0] * centred[1], first * step.inputs[1].scale / scale, rounding, step.wide)
        raise unknown(step.operation, f"the operation of {step.name}", get_args(Operation))

    def _conv(self, step: Step, x: Array) -> Array:
        assert step.weights is not None, "read_steps gives every conv its weights"
        assert step.node is not None, "only requantize has no node"
        scales = np.array(step.weights.quantization.scale)
        multiplier = conv_multiplier(step.inputs[0].scale, scales, step.output.scale, self.scheme.rounding)
        bound = self.bounds[step.output.name]
        total = convolve(x, step.weights.centred, step.weights.bias, step.node, bound)
        return rescale(total, multiplier.reshape(-1, 1, 1), self.scheme.rounding, step.wide)

    def _requantize(self, x: Array, port: Port, step: Step) -> Array:
        if port.quantization == step.output.quantization:
            return x
        centred = x.astype(np.int64) - port.zero_point
        return self._saturate(rescale(centred, port.scale / step.output.scale, self.scheme.rounding, port.wide), step)

    def _part(self, x: Array, port: Port, step: Step) -> Array:
        if port.dtype == "int8":
            return self._requantize(x, port, step)  # TFLite joins int8 tensors of one scale only, after a QUANTIZE each
        if port.quantization == step.output.quantization:
            return x
        scales = (port.scale, step.output.scale)
        return self._saturate(rescale_part(x, port.zero_point, scales, self.scheme.rounding), step)

    @staticmethod
    def _saturate(rescaled: Array, step: Step) -> Array:
        clamped = np.clip(rescaled + step.output.zero_point, step.low, step.high)
        return np.asarray(clamped.astype(step.output.dtype))


def _enters(kernel: Kernel, graph: gs.Graph) -> bool:
    """Whether `kernel` reads inputs of the network alone."""
    return all(tensor in graph.inputs for tensor in kernel.inputs)


def _move(node: gs.Node, x: Array, output: Port) -> Array:
    if node.op == "Transpose":
        return np.ascontiguousarray(np.transpose(x, node.attrs.get("perm")))
    return x.reshape(output.shape)


def _run_float(graph: gs.Graph, kernel: Kernel, values: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of a kernel that computes in float, quantizes or dequantizes."""
    part = gs.Graph(list(kernel.nodes), list(kernel.inputs), list(kernel.outputs), name="part", opset=graph.opset)
    part.import_domains = graph.import_domains
    model = attach_functions(export(part))
    model.ir_version = 10
    return run_reference(model, {tensor.name: values[tensor.name] for tensor in kernel.inputs})

"""Cutting a quantized network in two: what the tensor unit computes, and what the phone's processor does behind it.

The unit takes every kernel that computes in integers, and turns a network's float inputs into them. The processor takes
the floats behind: it gives integers their scale, joins boxes and finds the detections.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
import onnx_graphsurgeon as gs

from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import Kernel, kernels
from mdcompiler.module import Module, export
from mdcompiler.operators import attach_functions
from mdcompiler.quantization.steps import is_integer


@dataclass(frozen=True)
class Cut:
    """The kernels of each side, in order, and the tensors that go from one to the other or leave the network."""

    unit: tuple[Kernel, ...]
    host: tuple[Kernel, ...]
    inputs: tuple[gs.Variable, ...]
    handed: tuple[gs.Variable, ...]


def cut(module: Module) -> Cut:
    """Raises UnsupportedError for a network that is not quantized, or comes back to integers after a float kernel."""
    everything = kernels(module.graph)
    entering = {tensor.name for tensor in module.graph.inputs}
    unit = tuple(kernel for kernel in everything if runs_on_unit(kernel, entering))
    host = tuple(kernel for kernel in everything if not runs_on_unit(kernel, entering))
    if not any(map(is_integer, unit)):
        raise UnsupportedError(
            "compiling for HTP: the network is float, and the tensor unit gets integers. Add `--precision int8 "
            "--calibration DIR` (pictures, or an .npz file)."
        )
    made = {tensor.name: kernel.name for kernel in host for tensor in kernel.outputs}
    for kernel in unit:
        _check_order(kernel, made)
    inputs = {tensor.name: tensor for kernel in unit for tensor in kernel.inputs if tensor.name in entering}
    return Cut(unit, host, tuple(inputs.values()), _handed(module.graph, unit, host))


def runs_on_unit(kernel: Kernel, entering: set[str]) -> bool:
    """Whether the tensor unit takes `kernel`. entering: names of the network's inputs."""
    quantizes = kernel.kind == "quantize" and all(tensor.name in entering for tensor in kernel.inputs)
    return quantizes or is_integer(kernel)


def unit_model(module: Module, found: Cut, watched: tuple[gs.Variable, ...] = ()) -> onnx.ModelProto:
    """The unit's part as a model. watched: tensors inside that become outputs, too."""
    handed = {tensor.name for tensor in found.handed}
    outputs = [*found.handed, *(tensor for tensor in watched if tensor.name not in handed)]
    return _part(module, found.unit, list(found.inputs), outputs)


def host_model(module: Module, found: Cut) -> onnx.ModelProto | None:
    """The processor's part as a model that any ONNX Runtime runs; None when nothing is left to do."""
    if not found.host:
        return None
    made = {tensor.name for kernel in found.host for tensor in kernel.outputs}
    inputs = {tensor.name: tensor for kernel in found.host for tensor in kernel.inputs if tensor.name not in made}
    outputs = [tensor for tensor in module.graph.outputs if tensor.name in made]
    return attach_functions(_part(module, found.host, list(inputs.values()), outputs))


def _part(
    module: Module, part: tuple[Kernel, ...], inputs: list[gs.Variable], outputs: list[gs.Variable]
) -> onnx.ModelProto:
    nodes = [node for kernel in part for node in kernel.nodes]
    graph = gs.Graph(nodes, inputs, outputs, name=module.graph.name, opset=module.graph.opset)
    graph.import_domains = module.graph.import_domains
    return export(graph)


def _handed(graph: gs.Graph, unit: tuple[Kernel, ...], host: tuple[Kernel, ...]) -> tuple[gs.Variable, ...]:
    read = {tensor.name for kernel in host for tensor in kernel.inputs} | {tensor.name for tensor in graph.outputs}
    return tuple(tensor for kernel in unit for tensor in kernel.outputs if tensor.name in read)


def _check_order(kernel: Kernel, made: dict[str, str]) -> None:
    for tensor in kernel.inputs:
        if tensor.name in made:
            raise UnsupportedError(
                f"compiling for HTP: {kernel.name} computes in integers behind {made[tensor.name]}, which computes in "
                "float; the processor's part must come last. Do not keep that block in float, or keep all behind it."
            )

"""Quantization-aware fine-tuning: a module that computes as the integers will (Jacob et al. 2018, arXiv 1712.05877).

BatchNorm is folded with the moving statistics that it has; then weights, biases and the scales of the activations are
trained (learned step sizes: Esser et al. 2020, arXiv 1902.08153), zero points stay. In eval mode the outputs are, bit
for bit, those of the integer reference for the exported network.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mdcompiler.calibration import DEFAULT_METHOD
from mdcompiler.calibration.samples import ListedSamples
from mdcompiler.errors import UnsupportedError
from mdcompiler.lowering.ends import SCORES
from mdcompiler.names import kernel_path
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.plan import PlannedStep
from mdcompiler.quantization.scheme import Scheme, find_scheme
from mdcompiler.spec import build_network
from mdcompiler.spec.steps import Conv
from mdcompiler.torch.detector import DetectorModule, convolutions, place
from mdcompiler.torch.integer_conv import IntegerConv
from mdcompiler.torch.integer_plan import IntegerPlan, float_network, observed_ranges, plan_integers
from mdcompiler.torch.integer_run import IntegerRun
from mdcompiler.torch.straight_through import damped
from mdcompiler.torch.weights import Weights, export_weights
from mdcompiler.weights.quantization import Quantization
from mdcompiler.write_aside import write_file

_LARGEST_SHRINK = 0.9
_STEPS = 127
"""Of the type that scales are learned for, in the damping of their gradients."""


def prepare_qat(
    module: DetectorModule,
    scheme: str | Scheme = "cpu",
    *,
    pictures: Iterable[NDArray[np.uint8]] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    method: str = DEFAULT_METHOD,
) -> QuantizedModule:
    """A module to fine-tune that computes in the integers of `scheme`; `module` stays as it is.

    scheme: a name or file of a quantization scheme (that of the target), or a `Scheme`. pictures: uint8 [H, W, 3] of
    the spec's size, to find the ranges of activations with, by `method` of `mdcompiler.calibration`; or ranges: those
    themselves, by tensor. Raises UnsupportedError when neither or both are given, or a tensor has no range.
    """
    if (pictures is None) == (ranges is None):
        raise UnsupportedError(
            "preparing for quantization-aware training: ranges of the activations come from `pictures` or are given as "
            "`ranges`; give one of both."
        )
    rules = scheme if isinstance(scheme, Scheme) else find_scheme(scheme)
    weights = export_weights(module)
    if pictures is not None:
        samples = ListedSamples([{"image": np.asarray(picture)[np.newaxis]} for picture in pictures])
        ranges = observed_ranges(module.spec, weights, samples, method)
    made: QuantizedModule = QuantizedModule(plan_integers(module.spec, weights, rules, ranges or {})).to(
        _device(module)
    )
    return made


class QuantizedModule(nn.Module):
    """As `DetectorModule`: logits in train mode, scores in eval mode; and every tensor is integers with a scale.

    Parameters: weight and bias of every convolution, and `growth`, by which share every scale is larger than it was at
    the start. Give it to the optimizer with a learning rate of its own, or none to leave the scales.
    """

    def __init__(self, plan: IntegerPlan) -> None:
        super().__init__()
        self.plan, self.spec = plan, plan.spec
        for planned in plan.steps:
            if planned.step.operation == "conv":
                place(self, kernel_path(planned.step.name), _layer(plan, planned))
        self.register_buffer("base_scales", torch.tensor([group.quantization.scale[0] for group in plan.groups]))
        zeros = [group.quantization.zero_point[0] for group in plan.groups]
        self.register_buffer("zero_points", torch.tensor(zeros))
        damping = [0.0 if group.fixed else 1 / math.sqrt(group.elements * _STEPS) for group in plan.groups]
        self.register_buffer("_damping", torch.tensor(damping), persistent=False)
        self.growth = nn.Parameter(torch.zeros(len(plan.groups)))
        self._logits = _logit_names(plan)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        run = self._run(images)
        encodings = torch.cat([run.real(name) for name in self.plan.parts], 1)
        if not self.training:
            return encodings, run.real(SCORES)
        return encodings, torch.cat([run.real(name) for name in self._logits], 1)

    @torch.no_grad()
    def integers(self, images: Tensor) -> dict[str, NDArray[Any]]:
        """The integers of every tensor, by the names that they have in the exported network."""
        run = self._run(images)
        return {f"{name}/q": run.integers(name) for name in run.values}

    def scales(self) -> Tensor:
        """The scale of every group of tensors of the plan, float32."""
        growth = damped(self.growth, self._damping).clamp(min=-_LARGEST_SHRINK)
        return self.base_scales * (1 + growth)

    def quantization(self) -> list[Quantization]:
        """What the integers of every group mean."""
        pairs = zip(self.scales().detach().cpu().tolist(), self.zero_points.cpu().tolist(), strict=True)
        types = [group.quantization.dtype for group in self.plan.groups]
        return [Quantization((scale,), (zero,), dtype) for (scale, zero), dtype in zip(pairs, types, strict=True)]

    def layer(self, path: str) -> IntegerConv:
        """The convolution under a path of the network."""
        found: IntegerConv = self.get_submodule(path)
        return found

    def _run(self, images: Tensor) -> IntegerRun:
        run = IntegerRun(self.plan, self.scales(), self.quantization(), self.layer, exact=not self.training)
        run.run(images)
        return run


def export_quantized(module: QuantizedModule, raw: bool = False) -> onnx.ModelProto:
    """The quantized network with the trained weights and scales, as ONNX that `mdc compile` takes with its integers.

    raw: end with box encodings and class scores instead of detections.
    """
    spec, plan = module.spec, module.plan
    network = float_network(spec, float_weights(module), raw)
    for node in network.graph.nodes:
        if node.op == "Conv":
            arrays = module.layer(kernel_path(node.name)).arrays()
            for constant, array in zip(node.inputs[1:], arrays, strict=True):
                constant.values = np.array(array)
    pairs = zip(plan.groups, module.quantization(), strict=True)
    given = {group.leader: item for group, item in pairs if group.leader not in _pictures(plan)}
    InsertQdq(Parameters(quantization=given), scheme=plan.scheme).run(network)
    return network.to_onnx()


def save_quantized(module: QuantizedModule, path: str | Path, raw: bool = False) -> None:
    """Write the quantized network to the file `path` (.onnx): `mdc compile PATH --target …`."""
    write_file(Path(path), export_quantized(module, raw).SerializeToString(deterministic=True))


def float_weights(module: QuantizedModule) -> Weights:
    """The trained weights by the names of weights files, for the float network.

    BatchNorm is the one that only adds the bias: mean 0, variance 1, gamma sqrt(1 + epsilon). Folded again, weights
    may differ in float32's last bit; `export_quantized` takes them as they are.
    """
    found: Weights = {}
    for step in build_network(module.spec).steps:
        for conv in convolutions(step):
            found.update(_float_weights(conv, *module.layer(conv.path).arrays()))
    return found


def _float_weights(conv: Conv, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Weights:
    found = {f"{conv.path}/weight": np.array(weight)}
    if conv.epsilon is None:
        return {**found, f"{conv.path}/bias": np.array(bias)}
    ones = np.ones_like(bias)
    return {
        **found,
        f"{conv.path}/bn/gamma": ones * np.float32(math.sqrt(1 + conv.epsilon)),
        f"{conv.path}/bn/beta": np.array(bias),
        f"{conv.path}/bn/mean": 0 * ones,
        f"{conv.path}/bn/variance": ones,
    }


def _layer(plan: IntegerPlan, planned: PlannedStep) -> IntegerConv:
    name = planned.step.name
    source = planned.step.inputs[0].name
    correction = next((item.correction for item in plan.steps if item.step.output.name == source), 0.0)
    return IntegerConv(name, *plan.convolutions[name], plan.scheme, correction)


def _pictures(plan: IntegerPlan) -> set[str]:
    return {item.step.output.name for item in plan.steps if item.step.operation == "picture"}


def _logit_names(plan: IntegerPlan) -> list[str]:
    """What the sigmoids of the class scores read, by level."""
    makers = {item.step.output.name: item.step for item in plan.steps}
    last = makers[SCORES]
    parts = [tensor.name for tensor in last.inputs] if last.operation == "concat" else [SCORES]
    return [makers[name].inputs[0].name for name in parts]


def _device(module: nn.Module) -> Any:
    return next(module.parameters()).device

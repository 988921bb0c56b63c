"""The convolutions of a network as HVX works, for tuning: shapes alone, so weights and ranges are made up."""

from __future__ import annotations

from mdcompiler.backends.hexagon.backend import HexagonBackend
from mdcompiler.backends.hexagon.convolution import HvxConvolution
from mdcompiler.backends.hexagon.lower import lower_program
from mdcompiler.backends.hexagon.sources import HvxConvolutionSource
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.passes import builtin_passes
from mdcompiler.passes.insert_qdq import InsertQdq
from mdcompiler.passes.move_sigmoid import MoveSigmoid
from mdcompiler.pipeline import Pipeline
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.plan import tensors_to_calibrate
from mdcompiler.quantization.scheme import find_scheme
from mdcompiler.spec import Spec, weight_shapes
from mdcompiler.target import Target
from mdcompiler.weights import seeded_weights

_RANGE = (-1.0, 1.0)


def convolutions_of(spec: Spec, target: Target) -> list[HvxConvolution]:
    """Every different convolution of the network, in its order."""
    module, pipeline = (
        Module.from_onnx(lower(spec, seeded_weights(weight_shapes(spec), 0), raw=True), target),
        Pipeline(),
    )
    pipeline.run(module, [item for item in builtin_passes() if item.stage in ("read", "simplify", "fuse")])
    pipeline.run(module, [MoveSigmoid()])
    scheme = find_scheme(target.scheme)
    ranges = dict.fromkeys(tensors_to_calibrate(module.graph, scheme), _RANGE)
    pipeline.run(module, [InsertQdq(Parameters(ranges=ranges), scheme=scheme), *HexagonBackend().passes(target)])
    functions = lower_program(module.graph).functions.values()
    return [source.work for source in functions if isinstance(source, HvxConvolutionSource)]

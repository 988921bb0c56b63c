"""Insert quantization: from a float graph to integers between all kernels, in plain ONNX QDQ.

    conv -> Clip(0,6) -> next   becomes   [DQ x, DQ weight, DQ bias] -> conv -> Q  ->  [DQ, …] -> next

Every QuantizeLinear belongs to the kernel that makes the tensor, every DequantizeLinear to the one that reads it,
so that kernels exchange integers. Inside a kernel every integer operation (`mdcompiler.quantization.split`) stands
between such pairs, too. What is decided here:

1. A clamp that saturation does anyway is dropped, one with a single useful bound becomes Relu, Min or Max: Hexagon's
   compiler drops a whole Clip when one of its bounds is redundant. Ranges of relu6 results end at 6, so that
   calibrated networks keep none.
2. The picture's bytes are the stem's integers (`mdcompiler.quantization.assign.picture_quantization`).
3. A kernel that stays float meets integers in kernels of their own, of kind `quantize` and `dequantize`.
4. Every convolution gets an int32 bias, zero where it had none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from mdcompiler.compile_pass import Refusal, Stage
from mdcompiler.errors import UnsupportedError
from mdcompiler.module import Module
from mdcompiler.quantization.assign import Parameters
from mdcompiler.quantization.plan import Planner
from mdcompiler.quantization.scheme import Precision, Scheme, find_scheme, write_scheme
from mdcompiler.quantization.write_qdq import write_qdq


@dataclass(frozen=True)
class InsertQdq:
    """Quantize the network by ranges or given scales; without either it stays float.

    parameters: ranges, scales, ready integers. precision: kernel or block -> int8, int16 (16-bit activations) or
    float; `default` for all others. scheme: the target's where it is None.
    """

    parameters: Parameters = field(default_factory=Parameters)
    precision: Mapping[str, Precision] = field(default_factory=dict)
    default: Precision = "int8"
    scheme: Scheme | None = None

    name: ClassVar[str] = "insert-qdq"
    stage: ClassVar[Stage] = "quantize"
    after: ClassVar[tuple[str, ...]] = ("mark-kernels",)

    def run(self, module: Module) -> int:
        if self._idle(module):
            return 0
        planner = self._planner(module)
        before = len(module.graph.nodes)
        write_qdq(module.graph, planner.finish(), planner.scheme, self.parameters)
        write_scheme(module.metadata, planner.scheme)
        return abs(len(module.graph.nodes) - before)

    def refusals(self, module: Module) -> list[Refusal]:
        """Kernels that stay float. Of a network that is quantized already nothing can be said any more."""
        return [] if self._idle(module) else self._planner(module).plan.refusals

    def _idle(self, module: Module) -> bool:
        nothing = not self.parameters.ranges and not self.parameters.quantization
        return nothing or is_quantized(module)

    def _planner(self, module: Module) -> Planner:
        scheme = self.scheme or scheme_of(module)
        return Planner(module.graph, scheme, self.parameters, self.precision, self.default)


def is_quantized(module: Module) -> bool:
    """Whether the network has quantized tensors already."""
    return any(node.op in ("QuantizeLinear", "DequantizeLinear") for node in module.graph.nodes)


def scheme_of(module: Module) -> Scheme:
    """The scheme of the module's target. Raises UnsupportedError for a target that has none."""
    if not module.target.scheme:
        raise UnsupportedError(
            f"quantizing for {module.target.name}: the target names no scheme, so it computes in float only. "
            "Compile with precision fp32, or add `scheme:` to the target file."
        )
    return find_scheme(module.target.scheme)

"""Where the rows of float heads end: in the tensor that joins all levels, or in what an activation makes of it.

    head -> concat -> sigmoid -> scores      becomes      heads that apply the sigmoid and write into the scores

`integer_heads` does the same for quantized ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.program_builder import Home, elements_of
from mdcompiler.backends.kernels.activation import NO_ACTIVATION
from mdcompiler.backends.kernels.read_kernel import NoTemplate, read_activation, read_convolution
from mdcompiler.kernel import Kernel
from mdcompiler.quantization.steps import is_integer


class Heads:
    """The heads of a graph. found: all its kernels.

    homes: result of a head that only a join reads -> where it lies. passed: names of the kernels that have nothing left
    to do.
    """

    def __init__(self, found: Sequence[Kernel], graph: gs.Graph) -> None:
        self.homes: dict[str, Home] = {}
        self.passed: set[str] = set()
        self._found = found
        self._outputs = {tensor.name for tensor in graph.outputs}
        self._makers = {item.outputs[0].name: item for item in found if item.kind == "head" and not is_integer(item)}
        for kernel in found:
            if kernel.kind == "concat" and not is_integer(kernel):
                self._join(kernel)

    def _join(self, join: Kernel) -> None:
        homes = self._parts(join)
        activation = self._only_activation(join.outputs[0]) if len(homes) == len(join.nodes[0].inputs) else None
        if activation is not None and all(_is_bare(self._makers[name]) for name in homes):
            _, target, curve = read_activation(activation)
            homes = {name: replace(home, buffer=target, curve=curve) for name, home in homes.items()}
            self.passed.update((join.name, activation.name))
        self.homes.update(homes)

    def _parts(self, join: Kernel) -> dict[str, Home]:
        """The parts that heads may write in place."""
        whole, start = join.outputs[0], 0
        homes: dict[str, Home] = {}
        for part in join.nodes[0].inputs:
            if part.name in self._makers and len(part.outputs) == 1 and part.name not in self._outputs:
                homes[part.name] = Home(whole.name, start, elements_of(whole))
            start += elements_of(part)
        return homes

    def _only_activation(self, tensor: gs.Variable) -> Kernel | None:
        """The activation that is all that reads `tensor`."""
        readers = [kernel for kernel in self._found if tensor.name in {item.name for item in kernel.inputs}]
        if len(readers) != 1 or tensor.name in self._outputs or is_integer(readers[0]):
            return None
        try:
            read_activation(readers[0])
        except NoTemplate:
            return None
        return readers[0]


def _is_bare(head: Kernel) -> bool:
    """Whether a head has no activation of its own."""
    return read_convolution(head, LANES).work.activation == NO_ACTIVATION

"""What all lowerings to a GPU share: buffers, constants and launches of one program."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.backends.clib.program import Call, FunctionSource, Program
from mdcompiler.backends.gpu.function import LANES
from mdcompiler.backends.gpu.traits import GpuTraits
from mdcompiler.backends.kernels.activation import NO_ACTIVATION, Curve
from mdcompiler.errors import UnsupportedError
from mdcompiler.kernel import LAYOUT, Kernel

WORD_BYTES = 4


@dataclass(frozen=True)
class Home:
    """Where a tensor lies: in `buffer` of `size` elements from element `start` on, `curve` applied to it."""

    buffer: str
    start: int
    size: int
    curve: Curve = NO_ACTIVATION


@dataclass
class Builder:
    """Adds to `program`.

    homes: tensors that lie inside a larger one, by name; names: tensors that are another one in another shape.
    """

    program: Program
    traits: GpuTraits
    homes: dict[str, Home] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def name(self, tensor: str) -> str:
        """The buffer that holds a tensor from its start on."""
        return self.names.get(tensor, tensor)

    def home(self, tensor: gs.Tensor) -> Home:
        """Where a plain tensor is to be written."""
        return self.homes.get(tensor.name) or Home(tensor.name, 0, elements_of(tensor))

    def buffer(self, name: str, size_bytes: int) -> str:
        """Memory for a result, whole words of it."""
        if name not in self.program.inputs and name not in self.program.outputs:
            self.program.buffer(name, -(-size_bytes // WORD_BYTES) * WORD_BYTES)
        return name

    def constant(self, kernel: Kernel, role: str, values: NDArray[Any]) -> str:
        """A constant of one kernel."""
        return self.program.constant(f"{kernel.name}:{role}", values)

    def weights(self, kernel: Kernel, role: str, values: NDArray[Any]) -> str:
        """Weights of a float kernel, in the type that activations have."""
        return self.constant(kernel, role, values.astype(self.traits.element))

    def launch(self, kernel: Kernel, function: FunctionSource, reads: tuple[str, ...], target: str) -> None:
        """One launch. reads, then target: the kernel's parameters.

        Raises UnsupportedError when they are more than the device binds.
        """
        if len(reads) + 1 > self.traits.max_buffers:
            raise UnsupportedError(
                f"compiling for a GPU: {kernel.name} needs {len(reads) + 1} buffers at once, and a kernel may bind "
                f"{self.traits.max_buffers} (maxStorageBuffersPerShaderStage). Compile for another target."
            )
        self.program.functions[function.symbol] = function
        places = tuple(self.name(name) for name in reads)
        self.program.steps.append(Call(kernel.name, "", places, (target,), function=function))


def elements_of(tensor: gs.Tensor) -> int:
    """Elements of a plain tensor."""
    return int(np.prod([int(extent) for extent in tensor.shape]))


def is_blocked(tensor: gs.Tensor) -> bool:
    """Whether a tensor lies in blocks of four channels."""
    return bool(tensor.inputs) and bool(tensor.inputs[0].attrs.get(LAYOUT))


def blocked_elements(tensor: gs.Tensor) -> int:
    """Elements of a tensor in blocks of four channels, padding included."""
    _, channels, *pixels = (int(extent) for extent in tensor.shape)
    return -(-channels // LANES) * LANES * int(np.prod(pixels))

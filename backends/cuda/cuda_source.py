"""All that the generated C of a network on the GPU says, before it is text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mdcompiler.backends.clib.c_source import Tensor
from mdcompiler.backends.cuda.compiled import CompiledKernel
from mdcompiler.backends.gpu.device_program import DeviceProgram


@dataclass(frozen=True)
class CudaSource:
    """All that is written into the generated files.

    kernels: by symbol, in the order of the table of functions. constants: name -> byte offset in the constants file.
    capability: of the chip, major and minor.
    """

    device: DeviceProgram
    kernels: Mapping[str, CompiledKernel]
    inputs: Sequence[Tensor]
    outputs: Sequence[Tensor]
    constants: Mapping[str, int]
    constants_bytes: int
    alignment_bytes: int
    capability: tuple[int, int]

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.inputs, *self.outputs]

    @property
    def kernel_names(self) -> list[str]:
        """Kernels of the graph, in order of execution."""
        steps = [step.kernel for step in self.device.steps]
        return list(dict.fromkeys([*steps, *(call.kernel for call in self.device.host)]))

    @property
    def parameters(self) -> str:
        """Of the functions that run the network, as C declares them."""
        inputs = [f"const {t.c_type} *{t.identifier}" for t in self.inputs]
        return ", ".join([*inputs, *(f"{t.c_type} *{t.identifier}" for t in self.outputs)])


def quote(text: str) -> str:
    """`text` for a C string or comment: anything unusual becomes an underscore."""
    return "".join(c if c.isalnum() or c in " ._-/:+,()=[]" else "_" for c in text).replace("*/", "* /")

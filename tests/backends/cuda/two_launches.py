"""A model of two launches of one kernel, written without a network's lowering: for tests of the runtime alone."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from mdcompiler.backend import Emission, input_specs, output_specs
from mdcompiler.backends.clib.library import SharedLibrary
from mdcompiler.backends.clib.program import Call, Program
from mdcompiler.backends.cuda.compile_kernels import compile_kernels
from mdcompiler.backends.cuda.emit import write_files
from mdcompiler.module import Module
from mdcompiler.progress import silent
from mdcompiler.target import Target
from tests.backends.cuda.emulate import emulated_kernels
from tests.backends.cuda.kernel_sources import ELEMENTS, Mirror

SHAPE = (1, 4, ELEMENTS // 4, 4)


@dataclass(frozen=True)
class Model:
    """folder: with the artifact's files and `kernels.so`, the emulated kernels."""

    folder: Path
    module: Module
    emission: Emission

    @property
    def kernels(self) -> Path:
        return self.folder / "kernels.so"

    def copy(self, folder: Path) -> SharedLibrary:
        """A copy of the library, which has a state of its own: loaded."""
        path = folder / "model.so"
        shutil.copyfile(self.folder / "model.so", path)
        return SharedLibrary(path, input_specs(self.module), output_specs(self.module))


def build(target: Target, folder: Path) -> Model:
    """y = mirror(mirror(x)); a constant that nobody reads is uploaded as well."""
    module = Module.from_onnx(_graph(), target)
    program = Program(["x"], ["y"])
    program.buffer("between", 4 * int(np.prod(SHAPE)))
    program.constant("unused", np.arange(7, dtype=np.float32))
    for kernel, source, result in (("first", "x", "between"), ("second", "between", "y")):
        function = Mirror()
        program.functions[function.symbol] = function
        program.steps.append(Call(kernel, "", (source,), (result,), function=function))
    kernels = compile_kernels(program.functions, target.llvm, 1, silent)
    emission = write_files(module, program, kernels, silent, "model")
    for name, content in emission.files.items():
        (folder / name).write_bytes(content)
    emulated_kernels(folder / "model.cu", folder / "kernels.so")
    return Model(folder, module, emission)


def _graph() -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x", "y")]
    nodes = [helper.make_node("Add", ["x", "x"], ["y"], name="first/add")]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])

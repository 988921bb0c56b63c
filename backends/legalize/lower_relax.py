"""An ONNX model through TVM Relax to a list of calls. Runs in a child process: TVM may abort in here.

ONNX --from_onnx--> Relax --LegalizeOps … FuseTIR--> main: call_tir, call_tir, … --read off--> Lowered
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import tvm
from numpy.typing import NDArray
from tvm import relax
from tvm.relax.frontend.onnx import from_onnx
from tvm.tirx import PrimFunc

from mdcompiler.backends.legalize.copy_function import copy_function
from mdcompiler.backends.legalize.legal_kernel import LegalCall, TensorType
from mdcompiler.errors import UnsupportedError
from mdcompiler.names import identifier, unique


@dataclass
class Lowered:
    """What a model became; the fields are those of `LegalKernel`."""

    functions: dict[str, PrimFunc] = field(default_factory=dict)
    calls: list[LegalCall] = field(default_factory=list)
    temporaries: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, NDArray[Any]] = field(default_factory=dict)


def lower(model: onnx.ModelProto, prefix: str, llvm_target: dict[str, Any]) -> Lowered:
    """Legalise `model` for `llvm_target`. New functions are named `<prefix>__…`, new tensors `<graph's name>/…`.

    Raises UnsupportedError, and whatever TVM raises.
    """
    with tvm.target.Target(llvm_target):
        module = _passes()(from_onnx(model, keep_params_in_input=False))
    return _Reader(module, model, prefix).read()


def _passes() -> Any:
    return tvm.transform.Sequential(
        [
            relax.transform.LegalizeOps(),
            relax.transform.AnnotateTIROpPattern(),
            relax.transform.FoldConstant(),
            relax.transform.FuseOps(),
            relax.transform.FuseTIR(),
            relax.transform.DeadCodeElimination(["main"]),
        ]
    )


class _Reader:
    """Walks the Relax main function and writes down what it does."""

    def __init__(self, module: Any, model: onnx.ModelProto, prefix: str) -> None:
        self.module = module
        self.main = module["main"]
        self.graph = model.graph
        self.prefix = prefix
        self.result = Lowered()
        self.taken = {value.name for value in (*self.graph.input, *self.graph.output)}
        self.types = {value.name: _onnx_type(value) for value in (*self.graph.input, *self.graph.output)}
        self.values: dict[Any, Any] = {
            parameter: value.name for parameter, value in zip(self.main.params, self.graph.input, strict=True)
        }

    def read(self) -> Lowered:
        for block in self.main.body.blocks:
            for binding in block.bindings:
                self.values[binding.var] = self._value(binding.value)
        results = self._value(self.main.body.body)
        self._name_outputs(results if isinstance(results, tuple) else (results,))
        return self.result

    def _value(self, expression: Any) -> Any:
        """The name of the tensor that `expression` is, or a tuple of such."""
        if isinstance(expression, relax.Tuple):
            return tuple(self._value(part) for part in expression.fields)
        if isinstance(expression, relax.TupleGetItem):
            return self._value(expression.tuple_value)[int(expression.index)]
        if isinstance(expression, relax.Call):
            return self._call(expression)
        if isinstance(expression, tvm.ir.GenericConst):
            return self._constant(expression.value.numpy())
        if expression in self.values:
            return self.values[expression]
        raise UnsupportedError(f"Relax makes a {type(expression).__name__} of it, which is no plain tensor")

    def _call(self, call: Any) -> Any:
        operator = getattr(call.op, "name", str(call.op))
        if operator != "relax.call_tir":
            raise UnsupportedError(f"Relax leaves the call {operator!r}, which needs TVM's runtime")
        if len(call.args) > 2:
            raise UnsupportedError("its shapes are known only at run time")
        result_type = call.ty_args[0]
        several = isinstance(result_type, tvm.ir.TupleType)
        outputs = tuple(self._temporary(part) for part in (result_type.fields if several else [result_type]))
        inputs = tuple(self._value(argument) for argument in call.args[1].fields)
        name = self._add_function(call.args[0].name_hint, self.module[call.args[0]])
        self.result.calls.append(LegalCall(name, inputs, outputs))
        return outputs if several else outputs[0]

    def _add_function(self, hint: str, function: PrimFunc) -> str:
        name = f"{self.prefix}__{identifier(hint)}"
        self.result.functions[name] = function
        return name

    def _constant(self, array: NDArray[Any]) -> str:
        name = self._fresh(f"{self.graph.name}/c{len(self.result.constants)}")
        self.result.constants[name] = np.array(array, order="C")
        return name

    def _temporary(self, relax_type: Any) -> str:
        name = self._fresh(f"{self.graph.name}/t{len(self.result.temporaries)}")
        self.result.temporaries[name] = _tensor_type(relax_type)
        return name

    def _fresh(self, wanted: str) -> str:
        name = unique(wanted, self.taken)
        self.taken.add(name)
        return name

    def _name_outputs(self, results: tuple[str, ...]) -> None:
        """Let each output be written under its own name: a temporary renamed, or a copy added."""
        renamed: dict[str, str] = {}
        for output, source in zip(self.graph.output, results, strict=True):
            if source in self.result.temporaries and source not in renamed:
                self._check_type(output.name, self.result.temporaries[source])
                renamed[source] = output.name
            else:
                self._add_copy(renamed.get(source, source), output.name)
        self.result.calls = [_rename(call, renamed) for call in self.result.calls]
        for source in renamed:
            del self.result.temporaries[source]

    def _add_copy(self, source: str, output: str) -> None:
        array = self.result.constants.get(source)
        kind = self.types[source] if array is None else (array.shape, array.dtype.name)
        self._check_type(output, kind)
        name = self._add_function(f"copy{len(self.result.functions)}", copy_function(*kind))
        self.result.calls.append(LegalCall(name, (source,), (output,)))

    def _check_type(self, output: str, kind: TensorType) -> None:
        if kind != self.types[output]:
            raise UnsupportedError(
                f"TVM makes output {output!r} {kind[1]}{list(kind[0])} where the network says "
                f"{self.types[output][1]}{list(self.types[output][0])}"
            )


def _rename(call: LegalCall, renamed: dict[str, str]) -> LegalCall:
    inputs = tuple(renamed.get(name, name) for name in call.inputs)
    return LegalCall(call.function, inputs, tuple(renamed.get(name, name) for name in call.outputs))


def _tensor_type(relax_type: Any) -> TensorType:
    if not isinstance(relax_type, relax.TensorType) or not isinstance(relax_type.shape, relax.ShapeExpr):
        raise UnsupportedError("its shapes are known only at run time")
    extents = list(relax_type.shape.values)
    if not all(isinstance(extent, tvm.tirx.IntImm) for extent in extents):
        raise UnsupportedError("its shapes are known only at run time")
    return tuple(int(extent) for extent in extents), str(relax_type.dtype)


def _onnx_type(value: onnx.ValueInfoProto) -> TensorType:
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return tuple(dimension.dim_value for dimension in kind.shape.dim), dtype.name

"""The arbiter of a network: ONNX for floats, the integer reference once it is quantized; and its word in a file."""

from __future__ import annotations

from typing import Any

from mdcompiler import self_check
from mdcompiler.backend import input_specs, output_specs
from mdcompiler.build_manifest import tensor_specs
from mdcompiler.module import Module
from mdcompiler.reference import run_reference


def check_file(module: Module) -> dict[str, bytes]:
    """The file that a compiled network is checked with: outputs of `module` as it is now for a drawn input."""
    inputs, outputs = tensor_specs(input_specs(module)), tensor_specs(output_specs(module))
    run = reference_of(module, [item.name for item in outputs])
    return {self_check.CHECK_FILE: self_check.record_check(inputs, outputs, run)}


def reference_of(module: Module, outputs: list[str]) -> self_check.Run:
    """What computes the tensors `outputs` as the arbiter does."""
    from mdcompiler.quantization.integer_reference import IntegerReference
    from mdcompiler.quantization.scheme import read_scheme

    scheme = read_scheme(module.metadata)
    if scheme is not None:
        reference = IntegerReference(module, scheme)

        def run(arrays: dict[str, Any]) -> dict[str, Any]:
            values = reference.run(arrays)
            return {name: values[name] for name in outputs}

        return run
    model = module.to_onnx()
    return lambda arrays: run_reference(model, arrays)

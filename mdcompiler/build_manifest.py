"""The manifest of a compiled network: what went in, what was done, what came out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mdcompiler.backend import Backend, input_specs, output_specs
from mdcompiler.kernel import kernels
from mdcompiler.manifest import FileEntry, KernelEntry, Manifest, Source, TensorSpec
from mdcompiler.module import Module
from mdcompiler.onnx_graph import OUTPUTS
from mdcompiler.read_network import ADAPTED_KEY, labels_of, picture_of

_TOOLS = ("mdcompiler", "numpy", "onnx", "onnx-graphsurgeon", "onnxsim", "apache-tvm", "apache-tvm-ffi", "ziglang")
_ACCURACY_KEY = "mdc.accuracy"


def build_manifest(
    module: Module,
    source: Source,
    precision: str,
    backend: Backend,
    facts: Mapping[str, Any],
    files: Sequence[FileEntry],
    why_no_check: str,
) -> Manifest:
    """The manifest of `module` after its last stage. why_no_check: "" when a check file is among the files."""
    return Manifest(
        tools=_tool_versions(),
        source=source,
        target=module.target,
        precision=precision,
        passes=tuple(module.history),
        inputs=tensor_specs(input_specs(module)),
        outputs=tensor_specs(output_specs(module)),
        renamed=_renamed(module),
        picture=picture_of(module),
        labels=labels_of(module),
        facts={**facts, **_accuracy_of(module), **_adapted_of(module)},
        kernels=_kernel_table(module, backend),
        check=why_no_check,
        files=tuple(files),
    )


def _renamed(module: Module) -> dict[str, str]:
    """Outputs that the file calls by an input's name; passes may have taken some away."""
    stated: dict[str, str] = json.loads(module.metadata.get(OUTPUTS, "{}"))
    inputs, outputs = ({tensor.name for tensor in side} for side in (module.graph.inputs, module.graph.outputs))
    return {own: name for own, name in stated.items() if own in outputs and name in inputs}


def tensor_specs(rows: Sequence[Mapping[str, Any]]) -> tuple[TensorSpec, ...]:
    """Inputs or outputs as the manifest states them."""
    return tuple(TensorSpec.model_validate(row) for row in rows)


def _kernel_table(module: Module, backend: Backend) -> tuple[KernelEntry, ...]:
    return tuple(
        KernelEntry(
            name=kernel.name,
            block=kernel.block,
            kind=kernel.kind,
            macs=kernel.macs,
            fallback=backend.why_not(kernel, module.target),
        )
        for kernel in kernels(module.graph)
    )


def _accuracy_of(module: Module) -> dict[str, Any]:
    """What quantization cost; nothing for a float network."""
    text = module.metadata.get(_ACCURACY_KEY, "")
    return {"accuracy": json.loads(text)} if text else {}


def _adapted_of(module: Module) -> dict[str, Any]:
    """Where the spec gave way to the weights file."""
    text = module.metadata.get(ADAPTED_KEY, "")
    return {"adapted": text} if text else {}


def _tool_versions() -> dict[str, str]:
    return {name: found for name in _TOOLS if (found := _version(name))}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

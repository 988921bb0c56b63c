"""What must hold after every pass: a well-formed graph (always) and unchanged numbers (when asked).

`check_structure` is cheap and always on. `check_numbers` runs the network before and after on the inputs of a check;
it is for tests and for `MDC_VERIFY=2`.
"""

from __future__ import annotations

from typing import Any

import onnx
import onnx_graphsurgeon as gs
from numpy.typing import NDArray

from mdcompiler.arbiter import check_of
from mdcompiler.backend import Arrays, input_specs
from mdcompiler.build_manifest import tensor_specs
from mdcompiler.detection_head import detection_head
from mdcompiler.errors import InternalError
from mdcompiler.module import Module
from mdcompiler.quantization.scheme import read_scheme
from mdcompiler.reference import Reference
from mdcompiler.self_check import Answer, Check, Run, make_check

Array = NDArray[Any]


def check_structure(module: Module) -> None:
    """Raise InternalError unless the ONNX checker passes in full, names are unique and shapes static."""
    fault = _structure_fault(module.graph)
    if fault:
        raise InternalError(fault)
    try:
        onnx.checker.check_model(module.to_onnx(), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InternalError(f"the ONNX checker says: {error}") from error


def _structure_fault(graph: gs.Graph) -> str | None:
    seen: set[str] = set()
    for node in graph.nodes:
        if not node.name or node.name in seen:
            return f"node name {node.name!r} of a {node.op} is empty or taken"
        seen.add(node.name)
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Variable) and not tensor.is_empty() and not _is_static(tensor):
            return f"tensor {tensor.name!r} has shape {tensor.shape} and dtype {tensor.dtype}; both must be known"
    return None


def _is_static(tensor: gs.Variable) -> bool:
    return tensor.dtype is not None and tensor.shape is not None and all(isinstance(d, int) for d in tensor.shape)


def numbers_of(module: Module) -> Check:
    """What `check_numbers` compares with: the arbiter's word on a float network, the reference's on a quantized one."""
    if read_scheme(module.metadata) is None:
        return check_of(module)
    run, head = _run(module), detection_head(module)
    specs = tensor_specs(input_specs(module))
    return make_check(specs, lambda arrays: Answer(dict(run(dict(arrays)))), head.facts if head else None)


def check_numbers(module: Module, check: Check) -> None:
    """Raise InternalError when the outputs of `module` on the inputs of `check` leave what it allows."""
    faults = check.faults(_run(module))
    if faults:
        raise InternalError(f"the numbers changed: {'; '.join(faults)}")


def _run(module: Module) -> Run:
    """The reference on `module`, with its raw head where it ends in detections."""
    model, head = module.to_onnx(), detection_head(module)
    if head is None:
        return Reference(model).run
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in head.tensors)
    reference, names = Reference(model), head.names

    def run(arrays: Arrays) -> dict[str, Array]:
        return {names.get(name, name): array for name, array in reference.run(arrays).items()}

    return run

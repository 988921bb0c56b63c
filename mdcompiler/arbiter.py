"""The arbiter of a network: what its outputs should be, and how far rounding alone may take them.

Floats: the same network in float64 (`mdcompiler.exact`), beside what unoptimised float32 makes of the file's own model.
Where the network has no float64 form, that float32 run is all there is. Integers: the integer reference, exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.backend import input_specs
from mdcompiler.build_manifest import tensor_specs
from mdcompiler.detection_head import DetectionHead, detection_head
from mdcompiler.exact import ExactNetwork, NoExactFormError
from mdcompiler.module import Module
from mdcompiler.reference import Reference
from mdcompiler.self_check import Answer, Arbiter, Check, make_check
from mdcompiler.tolerance import largest_error, stored_share

Arrays = Mapping[str, NDArray[Any]]


def check_of(module: Module, given: Arrays | None = None, hides_head: bool = True) -> Check:
    """What a compiled `module` is compared with. given: the input to use; None draws several.

    hides_head: whether it may run where only detections can be seen.
    """
    head = detection_head(module)
    share = stored_share(module.target.dtypes)
    return make_check(
        tensor_specs(input_specs(module)), arbiter_of(module), head.facts if head else None, given, share, hides_head
    )


def arbiter_of(module: Module) -> Arbiter:
    """What says the outputs of `module`, and the raw head where it ends in detections."""
    from mdcompiler.quantization.scheme import read_scheme

    return _integers(module) if read_scheme(module.metadata) is not None else _floats(module)


def reference_of(module: Module, outputs: Sequence[str]) -> Callable[[Arrays], dict[str, NDArray[Any]]]:
    """What computes the tensors `outputs` as the arbiter does, each in its own type: the arbiter's float16 is wider."""
    arbiter, known = arbiter_of(module), module.graph.tensors()
    dtypes = {name: known[name].dtype for name in outputs}

    def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
        values = arbiter(arrays).values
        return {name: values[name].astype(dtype, copy=False) for name, dtype in dtypes.items()}

    return run


def _integers(module: Module) -> Arbiter:
    from mdcompiler.quantization.integer_reference import IntegerReference
    from mdcompiler.quantization.scheme import read_scheme

    scheme, head = read_scheme(module.metadata), detection_head(module)
    assert scheme is not None
    reference = IntegerReference(module, scheme)
    wanted = [tensor.name for tensor in module.graph.outputs]

    def answer(arrays: Arrays) -> Answer:
        values = reference.run(dict(arrays))
        raw = {} if head is None else head.named(values)
        return Answer({**{name: values[name] for name in wanted}, **raw}, {})

    return answer


def _floats(module: Module) -> Arbiter:
    head = detection_head(module)
    raw = module if head is None else head.raw(module)
    model = raw.to_onnx()
    reference, exact = Reference(model), ExactNetwork(model)
    outputs = [tensor.name for tensor in module.graph.outputs]

    def answer(arrays: Arrays) -> Answer:
        single = reference.run(arrays)
        try:
            wide: Arrays = exact.run(arrays)
        except NoExactFormError:
            return Answer(_ends(head, single, outputs), {})
        values = {name: _expected(wide[name], single[name]) for name in single}
        float32 = {
            name: largest_error(single[name], values[name])
            for name in single
            if np.issubdtype(single[name].dtype, np.floating)
        }
        known = float32 if head is None else {head.names[name]: error for name, error in float32.items()}
        return Answer(_ends(head, values, outputs), known, exact.work)

    return answer


def _ends(head: DetectionHead | None, values: Arrays, outputs: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The outputs of the network and, of a detector, its raw head."""
    if head is None:
        return {name: values[name] for name in outputs}
    boxes, scores = (values[name].astype(np.float32) for name in head.tensors)
    return {**head.facts.detections(boxes, scores), **head.named(values)}


def _expected(wide: NDArray[Any], single: NDArray[Any]) -> NDArray[Any]:
    """The float64 values; float32's own where it overflows, and where there are no floats."""
    if not np.issubdtype(single.dtype, np.floating):
        return single
    if wide.shape != single.shape:
        return single
    with np.errstate(over="ignore"):
        narrow = wide if single.dtype == np.float64 else wide.astype(np.float32)
    return np.where(np.isfinite(single) & np.isfinite(narrow), narrow, single.astype(narrow.dtype))

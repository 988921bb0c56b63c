"""From a quantized network to the files of an artifact and the facts of its manifest."""

from __future__ import annotations

from typing import Any

from mdcompiler.backend import Emission, input_specs
from mdcompiler.backends.htp.archs import archs_of, qnn_options
from mdcompiler.backends.htp.check import Checker, Proof
from mdcompiler.backends.htp.cut import Cut, cut, host_model, unit_model
from mdcompiler.backends.htp.describe import HEADER, README, ends_of, header, readme
from mdcompiler.backends.htp.limits import check_kernels
from mdcompiler.backends.htp.qnn import (
    CONTEXT_BINARY,
    CONTEXT_MODEL,
    Context,
    check_installed,
    compile_context,
    qnn_version,
)
from mdcompiler.backends.htp.runnable import HOST_MODEL, SOURCE_MODEL, SplitRunnable
from mdcompiler.build_manifest import tensor_specs
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.quantization.integer_reference import IntegerReference
from mdcompiler.quantization.scheme import find_scheme, read_scheme
from mdcompiler.sampling import seeded_inputs
from mdcompiler.self_check import CHECK_FILE, Answer, make_check

_STAGE = "emit"


def emit(module: Module, progress: Progress) -> Emission:
    """Compile the unit's part for every version, prove each on the emulator, and write what goes with the binary.

    Raises UnsupportedError for a network that the unit does not take or computes wrongly, MissingToolError without
    the extra `htp`.
    """
    archs, found = archs_of(module.target), cut(module)
    check_kernels(found.unit)
    check_installed()
    total = len(archs) + 2
    progress(_STAGE, 0, total)
    model = unit_model(module, found).SerializeToString(deterministic=True)
    contexts = {arch: compile_context(model, qnn_options((arch,))) for arch in archs}
    checker, proofs = _checker(module, found), {}
    for index, (arch, context) in enumerate(contexts.items()):
        progress(_STAGE, 1 + index, total)
        proofs[arch] = checker.prove(arch, context)
    progress(_STAGE, total - 1, total)
    runnable = _runnable(module, found, contexts[archs[0]])
    shipped = runnable.context if len(archs) == 1 else compile_context(model, qnn_options(archs))
    files = {**_files(found, runnable, archs, model), CONTEXT_MODEL: shipped.model, CONTEXT_BINARY: shipped.binary}
    progress(_STAGE, total, total)
    return Emission({**files, CHECK_FILE: _check_file(module, runnable)}, _facts(found, proofs))


def _runnable(module: Module, found: Cut, context: Context) -> SplitRunnable:
    names = [tuple(str(tensor.name) for tensor in side) for side in (found.inputs, found.handed, module.graph.outputs)]
    return SplitRunnable(context, host_model(module, found), *names)


def _checker(module: Module, found: Cut) -> Checker:
    scheme = read_scheme(module.metadata) or find_scheme(module.target.scheme)
    reference = IntegerReference(module, scheme)
    return Checker(module, found, reference, seeded_inputs(tensor_specs(input_specs(module))))


def _check_file(module: Module, runnable: SplitRunnable) -> bytes:
    """What the proved binary says: the integer reference is a step off it here and there."""
    return make_check(tensor_specs(input_specs(module)), lambda arrays: Answer(runnable.run(arrays))).to_bytes()


def _files(found: Cut, runnable: SplitRunnable, archs: tuple[int, ...], source: bytes) -> dict[str, bytes]:
    inputs, outputs = ends_of(found)
    host = runnable.host
    text = readme(inputs, outputs, archs, qnn_version(), host is not None)
    files = {
        SOURCE_MODEL: source,
        HEADER: header(inputs, outputs, archs).encode(),
        README: text.encode(),
    }
    return files if host is None else {**files, HOST_MODEL: host.SerializeToString(deterministic=True)}


def _facts(found: Cut, proofs: dict[int, Proof]) -> dict[str, Any]:
    """The facts of the manifest.

    arena_bytes: of the buffers that the caller gives; what QNN takes inside is not known before it runs. emulated:
    Hexagon version -> the proof. archs: in the
    binary. unit_inputs, unit_outputs: names, in the binary's order. host: kernels left to the
    processor.
    """
    inputs, outputs = ends_of(found)
    return {
        "arena_bytes": sum(end.bytes for end in (*inputs, *outputs)),
        "qnn": qnn_version(),
        "archs": list(proofs),
        "unit_inputs": [end.name for end in inputs],
        "unit_outputs": [end.name for end in outputs],
        "host": [kernel.name for kernel in found.host],
        "emulated": {f"v{arch}": proof.as_dict() for arch, proof in proofs.items()},
    }

"""From a placed module to the files of a Hexagon artifact."""

from __future__ import annotations

from mdcompiler.backend import Emission, input_specs, output_specs
from mdcompiler.backends.clib.alias import share_memory
from mdcompiler.backends.clib.build_objects import build_objects
from mdcompiler.backends.clib.emit_c import CONSTANTS_FILE, Source, header, implementation, pack_constants, tensors
from mdcompiler.backends.clib.emit_runner import runner
from mdcompiler.backends.clib.plan import plan_arena
from mdcompiler.backends.hexagon.link import HexagonFiles, link_archive, link_program
from mdcompiler.backends.hexagon.lower import lower_program
from mdcompiler.backends.hexagon.lower_convolution import ROUNDING
from mdcompiler.errors import UnsupportedError
from mdcompiler.module import Module
from mdcompiler.progress import Progress
from mdcompiler.quantization.scheme import SCHEME_KEY, find_scheme
from mdcompiler.read_network import labels_of


def emit_model(module: Module, progress: Progress, workers: int, prefix: str, program_name: str) -> Emission:
    """The program, the archive and the header, and the runtime's sources. The graph is not edited.

    workers: processes that compile at once. Raises UnsupportedError for a kernel without an HVX template.
    """
    _check_rounding(module)
    source, constants = _source(module)
    objects = build_objects(source.program.functions, module.target.llvm, workers, progress)
    main = runner(prefix, source.inputs, source.outputs, labels_of(module))
    files = HexagonFiles(
        prefix,
        {
            f"{prefix}.h": header(source, prefix).encode(),
            f"{prefix}.c": implementation(source, prefix).encode(),
            CONSTANTS_FILE: constants,
        },
        objects,
        module.target,
    )
    progress("link", 0, 2)
    executable = link_program(files, main.encode())
    progress("link", 1, 2)
    archive = link_archive(files)
    progress("link", 2, 2)
    facts = {
        "arena_bytes": source.plan.arena_bytes,
        "arena_lower_bound_bytes": source.plan.lower_bound_bytes,
        "constants_bytes": source.constants_bytes,
        "kernel_functions": len(source.program.functions),
        "calls": len(source.calls),
    }
    return Emission({program_name: executable, **archive}, facts)


def _check_rounding(module: Module) -> None:
    name = module.metadata.get(SCHEME_KEY, "")
    if name and find_scheme(name).rounding != ROUNDING:
        raise UnsupportedError(
            f"compiling for {module.target.name}: the network was quantized with the scheme {name}, which rounds by "
            f"{find_scheme(name).rounding}; HVX kernels round by {ROUNDING}. Quantize with the scheme hexagon-hvx."
        )


def _source(module: Module) -> tuple[Source, bytes]:
    """Everything the generated C needs, and the content of the constants file."""
    program, alignment = lower_program(module.graph), module.target.alignment_bytes
    aliases, calls = share_memory(program)
    constants, offsets = pack_constants(program.constants, alignment)
    taken = {"context", "nanoseconds", "frame", "arena", "steps"}
    source = Source(
        program=program,
        calls=calls,
        aliases=aliases,
        plan=plan_arena(calls, program.sizes, aliases, alignment),
        inputs=tensors(input_specs(module), taken),
        outputs=tensors(output_specs(module), taken),
        constants=offsets,
        constants_bytes=len(constants),
        alignment_bytes=alignment,
        features=[],
    )
    return source, constants

"""What goes with the binary: `model.h` with the names, shapes and scales of its ends, and how to run it on a phone."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from mdcompiler.backends.htp.cut import Cut
from mdcompiler.backends.htp.qnn import CONTEXT_BINARY, CONTEXT_MODEL
from mdcompiler.backends.htp.runnable import HOST_MODEL, SOURCE_MODEL
from mdcompiler.names import identifier
from mdcompiler.quantization.steps import affine

HEADER, README = "model.h", "README.md"
_C_TYPES = {"uint8": "uint8_t", "int8": "int8_t", "uint16": "uint16_t", "int16": "int16_t", "float32": "float"}


@dataclass(frozen=True)
class End:
    """An input or output of the binary: real = scale * (integer - zero_point); scale 1 and zero point 0 of floats."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float = 1.0
    zero_point: int = 0

    @property
    def elements(self) -> int:
        total = 1
        for extent in self.shape:
            total *= extent
        return total

    @property
    def bytes(self) -> int:
        widths = {"float32": 4, "uint16": 2, "int16": 2}
        return self.elements * widths.get(self.dtype, 1)


def ends_of(found: Cut) -> tuple[tuple[End, ...], tuple[End, ...]]:
    """Inputs and outputs of the binary, in its order."""
    return tuple(map(_end, found.inputs)), tuple(map(_end, found.handed))


def header(inputs: tuple[End, ...], outputs: tuple[End, ...], archs: tuple[int, ...]) -> str:
    """The C header: constants only, so it fits the C interface of ONNX Runtime as well as QNN's own."""
    lines = [
        "/* Ends of the network compiled for Hexagon HTP; real = SCALE * (integer - ZERO_POINT). */",
        "#ifndef MODEL_H",
        "#define MODEL_H",
        "",
        f'#define MODEL_CONTEXT "{CONTEXT_MODEL}"',
        f'#define MODEL_BINARY "{CONTEXT_BINARY}"',
        f"/* Hexagon {', '.join(f'V{arch}' for arch in archs)} */",
    ]
    for kind, ends in (("INPUT", inputs), ("OUTPUT", outputs)):
        lines += ["", f"#define MODEL_{kind}S {len(ends)}"]
        for index, end in enumerate(ends):
            lines += _macros(f"MODEL_{kind}_{index}", end)
    return "\n".join([*lines, "", "#endif", ""])


def readme(inputs: tuple[End, ...], outputs: tuple[End, ...], archs: tuple[int, ...], qnn: str, host: bool) -> str:
    """How to run the artifact on a phone, in Markdown."""
    versions = ", ".join(f"V{arch}" for arch in archs)
    behind = (
        f"`{HOST_MODEL}` takes the outputs and gives the network's own; any ONNX Runtime runs it on the processor.\n"
        if host
        else "These are the network's outputs; nothing is left to do.\n"
    )
    return (
        f"# A network for Hexagon HTP {versions}\n\n"
        f"`{CONTEXT_BINARY}` is the compiled network, `{CONTEXT_MODEL}` the ONNX file that refers to it, written by "
        f"onnxruntime-qnn {qnn}.\nOpen it with that version of QNN, or a newer one that takes it; "
        f"`{SOURCE_MODEL}` is what it was compiled from.\n\n"
        "## On a phone\n\n"
        "1. Build your program with `com.microsoft.onnxruntime:onnxruntime-android-qnn`, or with ONNX Runtime's C "
        "interface and its QNN provider.\n"
        f"2. Put both files into one folder of the app and open `{CONTEXT_MODEL}` with the provider `QNN`, option\n"
        "   `backend_path=libQnnHtp.so`, session option `session.disable_cpu_ep_fallback=1`.\n"
        "3. Give the inputs and take the outputs; `model.h` has them as C constants.\n\n"
        f"{_table('input', inputs)}\n{_table('output', outputs)}\n{behind}\n"
        "Without ONNX Runtime, Qualcomm's `qnn-net-run --retrieve_context` runs "
        f"`{CONTEXT_BINARY}` from its SDK.\n"
    )


def _end(tensor: gs.Variable) -> End:
    """`tensor` with the scale that the node behind or before it gives it."""
    shape, dtype = tuple(int(extent) for extent in tensor.shape), str(tensor.dtype)
    nodes = [node for node in (*tensor.inputs, *tensor.outputs) if node.op in ("QuantizeLinear", "DequantizeLinear")]
    if not nodes or dtype == "float32":
        return End(str(tensor.name), shape, dtype)
    quantization = affine(nodes[0])
    return End(str(tensor.name), shape, dtype, quantization.scale[0], quantization.zero_point[0])


def _macros(prefix: str, end: End) -> list[str]:
    text = end.name.replace("\\", "\\\\").replace('"', '\\"')
    return [
        f"/* {identifier(end.name)} */",
        f'#define {prefix}_NAME "{text}"',
        f"#define {prefix}_TYPE {_C_TYPES.get(end.dtype, end.dtype)}",
        f"#define {prefix}_SHAPE {{{', '.join(map(str, end.shape))}}}",
        f"#define {prefix}_ELEMENTS {end.elements}",
        f"#define {prefix}_SCALE {end.scale!r}f",
        f"#define {prefix}_ZERO_POINT {end.zero_point}",
    ]


def _table(kind: str, ends: tuple[End, ...]) -> str:
    rows = [
        f"| `{end.name}` | {end.dtype} | {'x'.join(map(str, end.shape))} | {end.scale:.9g} | {end.zero_point} |\n"
        for end in ends
    ]
    return f"| {kind} | type | shape | scale | zero point |\n|---|---|---|---|---|\n" + "".join(rows)

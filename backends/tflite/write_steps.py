"""Every integer operation as TFLite operators that compute exactly what the integer reference says.

| step | operators |
|---|---|
| conv | CONV_2D or DEPTHWISE_CONV_2D, with a PAD where the padding is neither SAME nor VALID |
| add, product | ADD, MUL |
| pool | MEAN over height and width |
| table of a sigmoid | LOGISTIC; other curves are refused: TFLite rounds them differently |
| concat | CONCATENATION, with a QUANTIZE before it for int8 parts of another scale |
| requantize | QUANTIZE |
| move | RESHAPE; a transpose only renames axes (`storage.Stored`) |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mdcompiler.backends.tflite.activations import fused_activation
from mdcompiler.backends.tflite.file_builder import FileBuilder
from mdcompiler.backends.tflite.storage import Stored, is_row_major, natural_order
from mdcompiler.backends.tflite.write_convolution import write_convolution
from mdcompiler.errors import UnsupportedError
from mdcompiler.known import known
from mdcompiler.quantization.steps import Port, Step

_HEIGHT_AND_WIDTH = (1, 2)


def write_step(builder: FileBuilder, step: Step) -> None:
    """Append the operators of `step`. Raises UnsupportedError for what has no exact counterpart."""
    wide = next((port for port in (*step.inputs, step.output) if port.wide), None)
    if wide is not None:
        raise UnsupportedError(
            f"writing {step.name} as TFLite: {wide.name} has 16-bit integers, the chip has 8-bit ones. "
            "Choose precision int8 for this block."
        )
    known(_WRITERS, step.operation, f"the operation of {step.name}")(builder, step)


def _add(builder: FileBuilder, step: Step) -> None:
    inputs = [builder.read(port.name, port.shape) for port in step.inputs]
    builder.operate("ADD", inputs, [builder.place(step.output)], activation=fused_activation(step))


def _product(builder: FileBuilder, step: Step) -> None:
    ranks = {len(port.shape) for port in step.inputs}
    if len(ranks) > 1:
        raise UnsupportedError(
            f"writing {step.name} as TFLite: a product of tensors of {' and '.join(map(str, sorted(ranks)))} "
            "axes. Give both four axes, [1, C, 1, 1] for a factor of every channel."
        )
    inputs = [builder.read(port.name, port.shape) for port in step.inputs]
    builder.operate("MUL", inputs, [builder.place(step.output)])


def _pool(builder: FileBuilder, step: Step) -> None:
    source = builder.read(step.inputs[0].name, step.inputs[0].shape)
    axes = builder.integers(f"{step.name}/axes", _HEIGHT_AND_WIDTH)
    builder.operate("MEAN", [source, axes], [builder.place(step.output)])


def _table(builder: FileBuilder, step: Step) -> None:
    assert step.activation is not None, "read_steps gives every table its activation"
    if step.activation.kind != "sigmoid":
        raise UnsupportedError(
            f"writing {step.name} as TFLite: {step.activation.kind} has no operator there that rounds as the "
            "integer reference does. Use `activation: relu6`, and the gate sigmoid, in this block."
        )
    _in_place(builder, step, "LOGISTIC")


def _requantize(builder: FileBuilder, step: Step) -> None:
    held = builder.stored[step.inputs[0].name]
    if step.inputs[0].quantization == step.output.quantization:
        builder.stored[step.output.name] = held
    else:
        _in_place(builder, step, "QUANTIZE")


def _in_place(builder: FileBuilder, step: Step, kind: str) -> None:
    """One operator on every element, whose result is stored as its input is."""
    held = builder.stored[step.inputs[0].name]
    builder.operate(kind, [held.index], [builder.place(step.output, held.order)])


def _concat(builder: FileBuilder, step: Step) -> None:
    assert step.node is not None, "only requantize has no node"
    rank = len(step.output.shape)
    inputs = [_part(builder, step, port) for port in step.inputs]
    axis = natural_order(rank).index(int(step.node.attrs["axis"]) % rank)
    builder.operate("CONCATENATION", inputs, [builder.place(step.output)], axis=axis)


def _part(builder: FileBuilder, step: Step, port: Port) -> int:
    """A part of a concatenation; int8 parts of another scale go through a QUANTIZE, uint8 CONCATENATION rescales."""
    index = builder.read(port.name, port.shape)
    if port.dtype == "uint8" or port.quantization == step.output.quantization:
        return index
    made = builder.add(f"{port.name}/joined", builder.tensors[index].shape, port.dtype, step.output.quantization)
    builder.operate("QUANTIZE", [index], [made])
    return made


def _move(builder: FileBuilder, step: Step) -> None:
    assert step.node is not None, "only requantize has no node"
    source, held = step.inputs[0], builder.stored[step.inputs[0].name]
    if step.node.op == "Transpose":
        rank = len(source.shape)
        permutation = step.node.attrs.get("perm") or list(reversed(range(rank)))
        builder.stored[step.output.name] = held.transposed(permutation)
    elif step.node.op == "Identity":
        builder.stored[step.output.name] = held
    else:
        _reshape(builder, step, held)


def _reshape(builder: FileBuilder, step: Step, held: Stored) -> None:
    source, plain = step.inputs[0], tuple(range(len(step.inputs[0].shape)))
    row_major = is_row_major(source.shape, held.order)
    index = held.index if row_major else builder.read(source.name, source.shape, plain)
    order = tuple(range(len(step.output.shape)))
    made = builder.place(step.output, order)
    shape = builder.integers(f"{step.name}/shape", step.output.shape)
    builder.operate("RESHAPE", [index, shape], [made])


_WRITERS: Mapping[str, Callable[[FileBuilder, Step], None]] = {
    "conv": write_convolution,
    "add": _add,
    "product": _product,
    "pool": _pool,
    "table": _table,
    "requantize": _requantize,
    "concat": _concat,
    "move": _move,
}

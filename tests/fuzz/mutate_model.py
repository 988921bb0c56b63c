"""Changes to the structure of an ONNX model, most of which leave a file that protobuf reads."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from onnx import helper

from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.odd_values import FLOATS, INTEGERS, NAMES, near, odd_value

_DIMENSIONS = (0, 1, 2, 3, 5, 7, -1, 17, 1000, 2**31, 2**40, 2**62)
_KEYS = (
    "mdc.spec",
    "mdc.labels",
    "mdc.batch",
    "mdc.history",
    "mdc.scheme",
    "mdc.accuracy",
    "mdc.kernel",
    "mdc.kind",
    "mdc.layout",
    "mdc.adapted",
)
Edit = Callable[[Random, onnx.ModelProto], None]


def mutate_model(random: Random, data: bytes) -> bytes:
    """One change to the model in `data`; to its bytes when that is no model."""
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError:
        return mutate_bytes(random, data)
    random.choice(_EDITS)(random, model)
    return bytes(model.SerializeToString())


def _generic(random: Random, model: onnx.ModelProto) -> None:
    """Change any field of any message: clear it, drop or repeat an item, give it another value."""
    places = list(_fields(model))
    message, field = random.choice(places)
    value = getattr(message, field.name)
    if not is_repeated(field):
        message.ClearField(field.name) if random.random() < 0.4 else _set_scalar(random, message, field)
        return
    edit = random.choice(("drop", "drop", "copy", "move", "change", "clear"))
    at = random.randrange(len(value))
    if edit == "clear":
        message.ClearField(field.name)
    elif edit == "drop":
        del value[at]
    elif edit == "copy":
        value.append(value[at])
    elif edit == "move":
        items = list(value)
        items.insert(random.randrange(len(items)), items.pop(at))
        message.ClearField(field.name)
        value.extend(items)
    elif field.message_type is None:
        value[at] = _scalar(random, field, value[at])


def _fields(message: Message) -> Any:
    """Every (message, field) that is set, the message's and of those inside it."""
    for field, value in message.ListFields():
        yield message, field
        if field.message_type is not None:
            for item in value if is_repeated(field) else (value,):
                yield from _fields(item)


def is_repeated(field: FieldDescriptor) -> bool:
    """Whether a field holds a list."""
    repeated = getattr(field, "is_repeated", None)
    return bool(repeated) if repeated is not None else field.label == FieldDescriptor.LABEL_REPEATED


def _set_scalar(random: Random, message: Message, field: FieldDescriptor) -> None:
    if field.message_type is None:
        setattr(message, field.name, _scalar(random, field, getattr(message, field.name)))


def _scalar(random: Random, field: FieldDescriptor, value: Any) -> Any:
    kind = field.cpp_type
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return random.choice((*FLOATS, value * 2, -value))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.choice((b"", b"\xff\xfe", mutate_bytes(random, value), b"NOTSET", b"SAME_UPPER", value * 2))
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return random.choice((*(name.encode("utf-8", "ignore").decode() for name in NAMES), value + "x"))
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        return random.choice(list(field.enum_type.values_by_number))
    bits = 31 if kind == FieldDescriptor.CPPTYPE_INT32 else 63
    return max(-(2**bits), min(2**bits - 1, near(random, value)))


def _rename_tensor(random: Random, model: onnx.ModelProto) -> None:
    names = _names(model)
    old, new = random.choice(names), random.choice((*names, *NAMES[:11]))
    everywhere = random.random() < 0.6
    for node in model.graph.node:
        for tensors in (node.input, node.output):
            for index, name in enumerate(tensors):
                if name == old and (everywhere or random.random() < 0.5):
                    tensors[index] = new
    for item in (*model.graph.input, *model.graph.output, *model.graph.initializer, *model.graph.value_info):
        if item.name == old and everywhere:
            item.name = new


def _rewire(random: Random, model: onnx.ModelProto) -> None:
    node = random.choice(model.graph.node)
    names = [*_names(model), ""]
    if node.input and random.random() < 0.8:
        node.input[random.randrange(len(node.input))] = random.choice(names)
    else:
        node.input.append(random.choice(names))


def _operator(random: Random, model: onnx.ModelProto) -> None:
    random.choice(model.graph.node).op_type = random.choice(_operators())


def _drop_node(random: Random, model: onnx.ModelProto) -> None:
    """Without a node, what read its first output reads its first input."""
    at = random.randrange(len(model.graph.node))
    node = model.graph.node[at]
    if node.input and node.output:
        for other in model.graph.node:
            for index, name in enumerate(other.input):
                if name == node.output[0]:
                    other.input[index] = node.input[0]
    del model.graph.node[at]


def _insert_node(random: Random, model: onnx.ModelProto) -> None:
    graph = model.graph
    reader = random.choice(graph.node)
    if not reader.input:
        return
    at = random.randrange(len(reader.input))
    new = f"{reader.input[at]}/new{random.randrange(1000)}"
    extra = [random.choice(_names(model)) for _ in range(random.choice((0, 0, 1, 2)))]
    node = helper.make_node(random.choice(_operators()), [reader.input[at], *extra], [new], name=new)
    reader.input[at] = new
    graph.node.insert(random.randrange(len(graph.node) + 1), node)


def _attribute(random: Random, model: onnx.ModelProto) -> None:
    node = random.choice(model.graph.node)
    names = sorted(onnx.defs.get_schema(node.op_type).attributes) if _has_schema(node.op_type) else []
    name = random.choice((*names, *(item.name for item in node.attribute), "axis", "mdc.kernel", "mdc.kind"))
    kept = [item for item in node.attribute if item.name != name]
    values = random.choice(
        (
            random.choice(INTEGERS[:12]),
            random.choice(FLOATS),
            random.choice(NAMES[:12]),
            [random.choice(INTEGERS[:9]) for _ in range(random.choice((1, 2, 3, 4, 8)))],
            [random.choice(FLOATS) for _ in range(random.choice((1, 2, 4)))],
            random.choice(("SAME_UPPER", "VALID", "linear", "half_pixel", "asymmetric", "cubic")),
            random.choice(model.graph.initializer) if model.graph.initializer else 1,
        )
    )
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, values)])


def _shape(random: Random, model: onnx.ModelProto) -> None:
    graph = model.graph
    value = random.choice((*graph.input, *graph.output, *graph.value_info))
    dims = value.type.tensor_type.shape.dim
    edit = random.choice(("size", "size", "size", "name", "drop", "add", "none", "type"))
    if edit == "type":
        value.type.tensor_type.elem_type = random.randrange(0, 24)
    elif edit == "none":
        value.type.tensor_type.ClearField("shape")
    elif edit == "add":
        dims.add().dim_value = random.choice(_DIMENSIONS)
    elif dims:
        at = random.randrange(len(dims))
        if edit == "drop":
            del dims[at]
        elif edit == "name":
            dims[at].dim_param = random.choice(("N", "batch", "?", ""))
        else:
            dims[at].dim_value = random.choice(_DIMENSIONS)


def _weight(random: Random, model: onnx.ModelProto) -> None:
    if not model.graph.initializer:
        return
    tensor = random.choice(model.graph.initializer)
    edit = random.choice(("dims", "type", "bytes", "values", "twice", "input", "empty", "external"))
    if edit == "dims":
        tensor.dims[:] = [random.choice(_DIMENSIONS) for _ in range(random.choice((0, 1, 2, 4, 9)))]
    elif edit == "type":
        tensor.data_type = random.randrange(0, 24)
    elif edit == "bytes":
        tensor.raw_data = mutate_bytes(random, tensor.raw_data)
    elif edit == "values":
        count = max(1, len(tensor.raw_data) // 4)
        word = random.choice((b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\0\0", b"\xff\xff\x7f\x7f", b"\1\0\0\0"))
        tensor.raw_data = word * count
    elif edit == "twice":
        model.graph.initializer.append(tensor)
    elif edit == "input":
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type or 1, list(tensor.dims)))
    elif edit == "empty":
        tensor.dims[:] = [*tensor.dims, 0]
        tensor.raw_data = b""
    else:
        external(random, tensor)


def external(random: Random, tensor: onnx.TensorProto) -> None:
    """Make `tensor` say that its values lie in a file."""
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    entries = {
        "location": random.choice(("data.bin", "missing.bin", "data.bin/x", ".", "./data.bin", *NAMES)),
        "offset": random.choice(("0", "4", "-1", "1e3", "²", "9" * 30, str(2**63), "x", "")),
        "length": random.choice(("16", "0", "-4", str(2**40), "4.0", "٣", "x", "")),
        "checksum": "00",
        random.choice(NAMES[1:8]): "x",
    }
    chosen = [name for name in entries if name == "location" or random.random() < 0.5]
    for name in chosen:
        tensor.external_data.add(key=name, value=entries[name].encode("utf-8", "ignore").decode())


def _opset(random: Random, model: onnx.ModelProto) -> None:
    edit = random.choice(("version", "version", "domain", "add", "drop", "ir"))
    if edit == "ir":
        model.ir_version = random.choice((0, 1, 3, 4, 7, 8, 10, 11, 13, 14, 99, 2**40))
    elif edit == "add" or not model.opset_import:
        model.opset_import.add(domain=random.choice(("", "ai.onnx", "ai.onnx.ml", "mdc", "com.microsoft")), version=1)
    elif edit == "drop":
        del model.opset_import[0]
    elif edit == "domain":
        random.choice(model.opset_import).domain = random.choice(("", "ai.onnx", "mdc", "x"))
    else:
        random.choice(model.opset_import).version = random.choice(
            (0, 1, 6, 7, 9, 10, 11, 13, 16, 18, 21, 23, 26, 28, 2**40)
        )


def _metadata(random: Random, model: onnx.ModelProto) -> None:
    holder = random.choice((model, model, *model.graph.node))
    value = random.choice(
        (str(odd_value(random)), "[" * 2000, '{"name": 1}', "cpu", "../x.yaml", "2026-12-01", "[1, null]")
    )
    text = value.encode("utf-8", "ignore").decode()
    known = list(holder.metadata_props)
    if known and random.random() < 0.5:
        random.choice(known).value = text
    else:
        holder.metadata_props.add(key=random.choice(_KEYS), value=text)


def _ends(random: Random, model: onnx.ModelProto) -> None:
    """Outputs that are inputs, weights, inner tensors, twice or none; inputs likewise."""
    graph = model.graph
    side = random.choice((graph.output, graph.output, graph.input))
    edit = random.choice(("copy", "inner", "clear", "swap"))
    if edit == "clear" or not side:
        del side[:]
    elif edit == "copy":
        side.append(random.choice((*graph.input, *graph.output)))
    elif edit == "swap":
        side[0].CopyFrom(random.choice((*graph.input, *graph.output)))
    else:
        side.add().name = random.choice(_names(model))


def _functions(random: Random, model: onnx.ModelProto) -> None:
    node = random.choice(model.graph.node)
    node.domain = random.choice(("mdc", "com.microsoft", "ai.onnx", "x", ""))
    if random.random() < 0.5:
        return
    imports = [helper.make_opsetid("", 17)]
    body = [helper.make_node(node.op_type, ["a"], ["b"])]
    model.functions.append(helper.make_function(node.domain or "mdc", node.op_type, ["a"], ["b"], body, imports))


def _names(model: onnx.ModelProto) -> list[str]:
    graph = model.graph
    names = [name for node in graph.node for name in (*node.input, *node.output)]
    names += [item.name for item in (*graph.input, *graph.initializer)]
    return names or ["x"]


@functools.cache
def _operators() -> Sequence[str]:
    return sorted(
        {schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain} | {"HardSwish", "None", ""}
    )


def _has_schema(operator: str) -> bool:
    return bool(onnx.defs.has(operator))


def _with_nodes(edit: Edit) -> Edit:
    """Edits of nodes, for models that have some."""

    def run(random: Random, model: onnx.ModelProto) -> None:
        (edit if model.graph.node else _generic)(random, model)

    return run


_EDITS: Sequence[Edit] = (
    _generic,
    _generic,
    _generic,
    _weight,
    _weight,
    _shape,
    _opset,
    _metadata,
    _ends,
    *map(
        _with_nodes, (_rename_tensor, _rewire, _operator, _drop_node, _insert_node, _attribute, _attribute, _functions)
    ),
)

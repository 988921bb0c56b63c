"""The operations that random networks are made of, in the spelling of each operator set.

A step takes a tensor and gives the next one, or None where it does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import helper

from tests.graphs import Sketch


class Branch(Sketch):
    """A sketch that makes names up and knows the shapes of its tensors."""

    def __init__(self, random: Random, opset: int) -> None:
        super().__init__(seed=random.randrange(1 << 30), opset=opset)
        self._prefix, self._count = "", 0
        self._shapes: dict[str, list[int]] = {}

    def begin(self, prefix: str) -> None:
        """Names of what follows begin so."""
        self._prefix = prefix

    def name(self, word: str) -> str:
        self._count += 1
        return f"{self._prefix}_{word}{self._count}"

    def constant(self, values: Any) -> str:
        return self.weight(self.name("w"), values)

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        """A weight with normally distributed values."""
        return self.constant((self.random.normal(0, scale, shape)).astype(np.float32))

    def add(self, op: str, inputs: Sequence[str], outputs: int = 1, **attributes: Any) -> str:
        """A node; the name of its first output."""
        name = self.name(op.lower())
        names = [name, *(f"{name}_{at}" for at in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=name, **attributes))
        return name

    def shape(self, tensor: str) -> list[int]:
        """The shape of a tensor, by ONNX's own inference."""
        if tensor not in self._shapes:
            graph = helper.make_graph(self.nodes, "so_far", self.inputs, [], self.weights)
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)
            inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
            for value in (*inferred.input, *inferred.value_info):
                self._shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        return self._shapes[tensor]


Step = Callable[[Branch, Random, str], "str | None"]


def _picture(net: Branch, data: str) -> tuple[int, int, int] | None:
    """Channels, height and width of a tensor [1, C, H, W]; None for another."""
    shape = net.shape(data)
    return (shape[1], shape[2], shape[3]) if len(shape) == 4 and shape[0] == 1 else None


def _conv(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None:
        return None
    channels, *size = found
    kernel = [min(random.choice((1, 1, 3, 3, 3, 5, 2)), *(extent + 2 for extent in size))] * 2
    if random.random() < 0.1:
        kernel = [1, min(3, size[1] + 2)]
    group = random.choice((1, 1, 1, channels, *(g for g in (2, 4) if channels % g == 0)))
    out = channels if group == channels else group * random.choice((1, 3, 4))
    weight = net.normal(out, channels // group, *kernel, scale=(channels // group * kernel[0] * kernel[1]) ** -0.5)
    inputs = [data, weight, *([net.normal(out, scale=0.2)] if random.random() < 0.6 else [])]
    stride = random.choice((1, 1, 1, 2))
    attributes: dict[str, Any] = {"group": group, "strides": [stride, stride]}
    if random.random() < 0.15 and max(kernel) > 1 and min(size) > 4:
        attributes["dilations"] = [2, 2]
        attributes["pads"] = [k - 1 for k in kernel] * 2
    elif random.random() < 0.2:
        attributes["auto_pad"] = random.choice(("SAME_UPPER", "SAME_LOWER"))
    else:
        attributes["pads"] = random.choice(
            ([k // 2 for k in kernel] * 2, [(k - 1) // 2 for k in kernel] + [k // 2 for k in kernel], _uneven(kernel))
        )
    return net.add("Conv", inputs, **attributes)


def _uneven(kernel: list[int]) -> list[int]:
    return [0 if k == 1 else k - 1 for k in kernel] + [0, 0]


def _transposed(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None or found[1] * found[2] > 100:
        return None
    out = random.choice((1, 3, 8))
    weight = net.normal(found[0], out, 2, 2, scale=found[0] ** -0.5)
    return net.add("ConvTranspose", [data, weight], strides=[2, 2])


def _norm(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None:
        return None
    channels = found[0]
    gamma, beta, mean = (net.normal(channels, scale=0.5) for _ in range(3))
    variance = net.constant(net.random.uniform(0.3, 2, channels).astype(np.float32))
    return net.add("BatchNormalization", [data, gamma, beta, mean, variance], epsilon=1e-3)


def _unary(net: Branch, random: Random, data: str) -> str | None:
    names = ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign", "HardSigmoid", "Neg", "Abs"]
    names += ["Erf"] * (net.opset >= 9) + ["HardSwish"] * (2 * (net.opset >= 14)) + ["Celu"] * (net.opset >= 12)
    names += ["Mish"] * (net.opset >= 18) + ["Gelu"] * (net.opset >= 20) + ["Sqrt"]
    op = random.choice(names)
    attributes: dict[str, Any] = {}
    if op in ("LeakyRelu", "Elu", "Celu") and random.random() < 0.5:
        attributes["alpha"] = random.choice((0.1, 0.3, 1.5))
    if op == "HardSigmoid" and random.random() < 0.7:
        attributes.update(alpha=1 / 6, beta=0.5)
    if op == "Sqrt":
        data = net.add("Abs", [data])
    return net.add(op, [data], **attributes)


def _relu6(net: Branch, random: Random, data: str) -> str | None:
    low, high = random.choice(((0.0, 6.0), (0.0, 6.0), (-1.0, 1.0), (0.0, 1.0)))
    if net.opset < 11:
        return net.add("Clip", [data], min=low, max=high)
    if random.random() < 0.1:
        return net.add("Clip", [data, net.constant(np.float32(low))])
    return net.add("Clip", [data, net.constant(np.float32(low)), net.constant(np.float32(high))])


def _prelu(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None:
        return None
    return net.add("PRelu", [data, net.normal(found[0], 1, 1, scale=0.3)])


def _swish(net: Branch, random: Random, data: str) -> str | None:
    gate = random.choice(("Sigmoid", "HardSigmoid"))
    return net.add("Mul", [data, net.add(gate, [data])])


def _pool(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None or min(found[1:]) < 2:
        return None
    op = random.choice(("MaxPool", "AveragePool"))
    kernel, stride = random.choice(((2, 2), (3, 2), (3, 1), (2, 1)))
    if min(found[1:]) < kernel:
        return None
    attributes: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2}
    if random.random() < 0.5 and kernel == 3:
        attributes["pads"] = [1, 1, 1, 1]
        if op == "AveragePool" and random.random() < 0.5:
            attributes["count_include_pad"] = 1
    if net.opset >= 10 and random.random() < 0.3:
        attributes["ceil_mode"] = 1
    return net.add(op, [data], **attributes)


def _global_pool(net: Branch, random: Random, data: str) -> str | None:
    if _picture(net, data) is None:
        return None
    return net.add(random.choice(("GlobalAveragePool", "GlobalMaxPool")), [data])


def _squeeze_excite(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None:
        return None
    channels = found[0]
    gate = net.add("GlobalAveragePool", [data])
    gate = net.add("Conv", [gate, net.normal(4, channels, 1, 1, scale=0.4), net.normal(4, scale=0.1)])
    gate = net.add("Relu", [gate])
    gate = net.add("Conv", [gate, net.normal(channels, 4, 1, 1, scale=0.4), net.normal(channels, scale=0.1)])
    return net.add("Mul", [data, net.add(random.choice(("Sigmoid", "HardSigmoid")), [gate])])


def _residual(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None:
        return None
    channels = found[0]
    inner = net.add("Conv", [data, net.normal(channels, channels, 1, 1, scale=channels**-0.5)])
    if random.random() < 0.5:
        inner = net.add("Relu", [inner])
    return net.add(random.choice(("Add", "Add", "Mul", "Sub")), random.sample([data, inner], 2))


def _constant(net: Branch, random: Random, data: str) -> str | None:
    shape = net.shape(data)
    sides: list[tuple[int, ...]] = [(), (1,), tuple(shape[-1:])]
    if len(shape) == 4:
        sides += [(1, shape[1], 1, 1), (shape[1], 1, 1)]
    values = net.constant(np.asarray(net.random.uniform(0.5, 2, random.choice(sides)), np.float32))
    op = random.choice(("Add", "Mul", "Sub", "Div", "Max", "Min"))
    if op in ("Max", "Min") and net.opset < 8:
        return None
    return net.add(op, random.sample([data, values], 2) if op not in ("Div",) else [data, values])


def _concat(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None:
        return None
    other = net.add("Conv", [data, net.normal(5, found[0], 1, 1, scale=found[0] ** -0.5)])
    return net.add("Concat", [data, other], axis=random.choice((1, -3)) if net.opset >= 11 else 1)


def _pad(net: Branch, random: Random, data: str) -> str | None:
    if _picture(net, data) is None:
        return None
    pads = [0, 0, *(random.choice((0, 1)) for _ in range(2)), 0, 0, *(random.choice((0, 1, 2)) for _ in range(2))]
    mode = random.choice(("constant", "constant", "edge"))
    if net.opset < 11:
        return net.add("Pad", [data], pads=pads, mode=mode)
    return net.add("Pad", [data, net.constant(np.array(pads))], mode=mode)


def _slice(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None or min(found[1:]) < 3:
        return None
    axis, start, step = random.choice((2, 3)), random.choice((0, 1)), random.choice((1, 1, 2))
    if net.opset < 10:
        return net.add("Slice", [data], axes=[axis], starts=[start], ends=[9999])
    numbers = [net.constant(np.array([value])) for value in (start, 9999, axis, step)]
    return net.add("Slice", [data, *numbers])


def _split(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None or found[0] < 2:
        return None
    parts = [1, found[0] - 1]
    if net.opset < 13:
        first = net.add("Split", [data], 2, axis=1, split=parts)
    else:
        first = net.add("Split", [data, net.constant(np.array(parts))], 2, axis=1)
    return net.add("Concat", [f"{first}_1", first], axis=1)


def _resize(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None or found[1] * found[2] > 100:
        return None
    mode = random.choice(("nearest", "linear"))
    if net.opset < 9:
        return net.add("Upsample", [data], scales=[1.0, 1.0, 2.0, 2.0], mode=mode)
    scales = net.constant(np.array([1, 1, 2, 2], np.float32))
    if net.opset < 11:
        return net.add("Upsample" if net.opset == 9 else "Resize", [data, scales], mode=mode)
    ways = ("half_pixel", "asymmetric", "align_corners")
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": random.choice(ways)}
    if mode == "nearest":
        attributes["nearest_mode"] = random.choice(("round_prefer_floor", "floor", "ceil", "round_prefer_ceil"))
    roi = "" if net.opset >= 13 else net.constant(np.zeros(0, np.float32))
    return net.add("Resize", [data, roi, scales], **attributes)


def _transpose(net: Branch, random: Random, data: str) -> str | None:
    if _picture(net, data) is None:
        return None
    return net.add("Transpose", [data], perm=random.choice(([0, 2, 3, 1], [0, 3, 1, 2], [0, 1, 3, 2])))


def _reshape(net: Branch, random: Random, data: str) -> str | None:
    shape = net.shape(data)
    if len(shape) != 4:
        return None
    if random.random() < 0.4:
        return net.add("Flatten", [data], axis=1)
    return net.add(
        "Reshape", [data, net.constant(np.array(random.choice(([0, -1, 1, 1], [1, -1, shape[-1]], [0, 0, -1]))))]
    )


def _depth_to_space(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None or found[0] % 4 or found[1] * found[2] > 100:
        return None
    attributes: dict[str, Any] = {"mode": random.choice(("DCR", "CRD"))} if net.opset >= 11 else {}
    return net.add("DepthToSpace", [data], blocksize=2, **attributes)


def _mean(net: Branch, random: Random, data: str) -> str | None:
    if _picture(net, data) is None:
        return None
    op, keep = random.choice(("ReduceMean", "ReduceMax", "ReduceSum")), random.choice((0, 1))
    first = 13 if op == "ReduceSum" else 18
    if net.opset < first:
        return net.add(op, [data], axes=[2, 3], keepdims=keep)
    return net.add(op, [data, net.constant(np.array([2, 3]))], keepdims=keep)


def _softmax(net: Branch, random: Random, data: str) -> str | None:
    shape = net.shape(data)
    axis = random.choice((1, -1, len(shape) - 1)) if net.opset >= 11 else 1
    return net.add(random.choice(("Softmax", "Softmax", "LogSoftmax")), [data], axis=axis)


def _gemm(net: Branch, random: Random, data: str) -> str | None:
    shape = net.shape(data)
    if len(shape) == 4:
        data = net.add("Flatten", [data], axis=1)
        shape = net.shape(data)
    if len(shape) != 2:
        return None
    out, depth = random.choice((1, 5, 10)), shape[1]
    if random.random() < 0.4:
        return net.add("MatMul", [data, net.normal(depth, out, scale=depth**-0.5)])
    turned = random.random() < 0.6
    weight = net.normal(*((out, depth) if turned else (depth, out)), scale=depth**-0.5)
    return net.add("Gemm", [data, weight, net.normal(out, scale=0.2)], transB=int(turned))


def _layer_norm(net: Branch, random: Random, data: str) -> str | None:
    shape = net.shape(data)
    if net.opset < 17 or shape[-1] < 3:
        return None
    return net.add("LayerNormalization", [data, net.normal(shape[-1]), net.normal(shape[-1])], axis=-1, epsilon=1e-3)


def _instance_norm(net: Branch, random: Random, data: str) -> str | None:
    found = _picture(net, data)
    if found is None or found[1] * found[2] < 9:
        return None
    return net.add("InstanceNormalization", [data, net.normal(found[0]), net.normal(found[0])], epsilon=1e-2)


STEPS: Sequence[Step] = (
    *(_conv,) * 8,
    *(_norm,) * 2,
    *(_unary,) * 3,
    *(_relu6,) * 2,
    *(_residual,) * 2,
    _prelu,
    _swish,
    _pool,
    _pool,
    _global_pool,
    _squeeze_excite,
    _constant,
    _constant,
    _concat,
    _pad,
    _slice,
    _split,
    _resize,
    _resize,
    _transpose,
    _reshape,
    _depth_to_space,
    _mean,
    _softmax,
    _gemm,
    _layer_norm,
    _instance_norm,
    _transposed,
)

"""Small networks written by hand, with seeded weights: what exporters other than ours make.

Functions that return `onnx.ModelProto`; every node and tensor is named as torch.onnx names them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mdcompiler.operators import attach_functions

OPSET = 17
Array = NDArray[Any]


@dataclass
class Sketch:
    """An ONNX graph in the making: `tensor = sketch.conv("name", tensor, ...)`."""

    seed: int = 0
    opset: int = OPSET
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def input(self, name: str, shape: list[Any], dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def weight(self, name: str, values: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op: str, name: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output called like the node."""
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def conv(
        self, name: str, data: str, channels: tuple[int, int], kernel: int = 1, bias: bool = False, **attributes: Any
    ) -> str:
        """A convolution `name`/conv of channels (in, out); `group` in attributes divides the inputs."""
        depth = channels[0] // attributes.get("group", 1)
        shape = (channels[1], depth, kernel, kernel)
        values = self.random.normal(0, (depth * kernel * kernel) ** -0.5, shape).astype(np.float32)
        inputs = [data, self.weight(f"{name}/weight", values)]
        if bias:
            inputs.append(self.weight(f"{name}/bias", self.random.normal(0, 0.1, channels[1]).astype(np.float32)))
        attributes.setdefault("pads", [kernel // 2] * 4)
        return self.node("Conv", f"{name}/conv", *inputs, **attributes)

    def norm(self, name: str, data: str, channels: int, epsilon: float = 1e-3) -> str:
        """A batch normalisation `name`/bn with parameters as after training."""
        parameters = {
            "gamma": self.random.uniform(0.5, 1.5, channels),
            "beta": self.random.normal(0, 0.2, channels),
            "mean": self.random.normal(0, 0.2, channels),
            "variance": self.random.uniform(0.5, 1.5, channels),
        }
        names = [self.weight(f"{name}/bn/{key}", value.astype(np.float32)) for key, value in parameters.items()]
        return self.node("BatchNormalization", f"{name}/bn", data, *names, epsilon=epsilon)

    def clip(self, name: str, data: str, low: float = 0.0, high: float = 6.0) -> str:
        bounds = [self.weight(f"{name}/{key}", np.float32(value)) for key, value in (("min", low), ("max", high))]
        return self.node("Clip", name, data, *bounds)

    def squeeze_excite(self, name: str, data: str, channels: int, gate: str = "Sigmoid") -> str:
        """The block `name` = pool, reduce, expand, gate, mul."""
        pooled = self.node("GlobalAveragePool", f"{name}/pool", data)
        reduced = self.conv(f"{name}/reduce", pooled, (channels, 4), bias=True)
        active = self.node("Relu", f"{name}/reduce/act", reduced)
        expanded = self.conv(f"{name}/expand", active, (4, channels), bias=True)
        opened = self.node(gate, f"{name}/gate", expanded)
        return self.node("Mul", f"{name}/mul", data, opened)

    def model(self, *outputs: str, **metadata: str) -> onnx.ModelProto:
        """The finished model, every tensor typed."""
        results = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "network", self.inputs, results, self.weights)
        imports = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        for key, value in metadata.items():
            model.metadata_props.add(key=key, value=value)
        model = attach_functions(model)
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)


def resnet_like() -> onnx.ModelProto:
    """A ResNet of two basic blocks, the second with a strided short cut; input [1,3,24,24], output [1,10]."""
    net = Sketch(seed=1)
    data = net.input("input", [1, 3, 24, 24])
    data = net.conv("/stem", data, (3, 8), 3, strides=[2, 2])
    data = net.node("Relu", "/relu/Relu", net.norm("/stem", data, 8))
    data = net.node("MaxPool", "/maxpool/MaxPool", data, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    data = _basic_block(net, "/layer1/layer1.0", data, (8, 8), 1)
    data = _basic_block(net, "/layer2/layer2.0", data, (8, 16), 2)
    data = net.node("GlobalAveragePool", "/avgpool/GlobalAveragePool", data)
    data = net.node("Flatten", "/Flatten", data, axis=1)
    weight = net.weight("fc.weight", net.random.normal(0, 0.3, (10, 16)).astype(np.float32))
    bias = net.weight("fc.bias", net.random.normal(0, 0.1, 10).astype(np.float32))
    return net.model(net.node("Gemm", "/fc/Gemm", data, weight, bias, transB=1))


def _basic_block(net: Sketch, name: str, data: str, channels: tuple[int, int], stride: int) -> str:
    wide = channels[1]
    first = net.norm(f"{name}/a", net.conv(f"{name}/a", data, channels, 3, strides=[stride, stride]), wide)
    first = net.node("Relu", f"{name}/relu/Relu", first)
    second = net.norm(f"{name}/b", net.conv(f"{name}/b", first, (wide, wide), 3), wide)
    short = data
    if channels[0] != wide:
        short = net.conv(f"{name}/down", data, channels, 1, strides=[stride, stride])
        short = net.norm(f"{name}/down", short, wide)
    total = net.node("Add", f"{name}/Add", second, short)
    return net.node("Relu", f"{name}/relu_1/Relu", total)


def mobilenet_v2_like() -> onnx.ModelProto:
    """A MobileNetV2 of two inverted residuals, the second with a sum; input [1,3,32,32], output [1,12]."""
    net = Sketch(seed=2)
    data = net.input("input", [1, 3, 32, 32])
    data = net.conv("/features/0", data, (3, 8), 3, strides=[2, 2])
    data = net.clip("/features/0/Clip", net.norm("/features/0", data, 8))
    data = _inverted_residual(net, "/features/1", data, (8, 16), 2)
    data = _inverted_residual(net, "/features/2", data, (16, 16), 1)
    data = net.clip("/features/3/Clip", net.norm("/features/3", net.conv("/features/3", data, (16, 32)), 32))
    data = net.node("ReduceMean", "/ReduceMean", data, axes=[2, 3], keepdims=0)
    data = net.node("Dropout", "/classifier/Dropout", data)
    weight = net.weight("classifier.weight", net.random.normal(0, 0.2, (12, 32)).astype(np.float32))
    bias = net.weight("classifier.bias", net.random.normal(0, 0.1, 12).astype(np.float32))
    return net.model(net.node("Gemm", "/classifier/Gemm", data, weight, bias, transB=1))


def _inverted_residual(net: Sketch, name: str, data: str, channels: tuple[int, int], stride: int) -> str:
    narrow, wide = channels[0], channels[0] * 4
    inner = net.norm(f"{name}/expand", net.conv(f"{name}/expand", data, (narrow, wide)), wide)
    inner = net.clip(f"{name}/expand/Clip", inner)
    inner = net.conv(f"{name}/dw", inner, (wide, wide), 3, group=wide, strides=[stride, stride])
    inner = net.clip(f"{name}/dw/Clip", net.norm(f"{name}/dw", inner, wide))
    inner = net.norm(f"{name}/project", net.conv(f"{name}/project", inner, (wide, channels[1])), channels[1])
    return net.node("Add", f"{name}/Add", data, inner) if stride == 1 else inner


def detector_like() -> onnx.ModelProto:
    """A tiny detector named as our lowering names it: picture in, one level of raw boxes out."""
    net = Sketch(seed=3)
    image = net.input("image", [1, 16, 16, 3], TensorProto.UINT8)
    data = net.node("Cast", "input/cast", image, to=TensorProto.FLOAT)
    data = net.node("Transpose", "input/transpose", data, perm=[0, 3, 1, 2])
    data = net.node("Mul", "input/scale", data, net.weight("input/scale/value", np.float32(2 / 255)))
    data = net.node("Add", "input/offset", data, net.weight("input/offset/value", np.float32(-1)))
    data = net.norm("C1/b0.conv/conv", net.conv("C1/b0.conv/conv", data, (3, 8), 3, strides=[2, 2]), 8)
    data = net.node("HardSwish", "C1/b0.conv/conv/act", data)
    inner = net.norm("C2/b0.ibn/expand", net.conv("C2/b0.ibn/expand", data, (8, 16)), 16)
    inner = net.clip("C2/b0.ibn/expand/act", inner)
    inner = net.norm("C2/b0.ibn/dw", net.conv("C2/b0.ibn/dw", inner, (16, 16), 3, group=16), 16)
    inner = net.node("HardSwish", "C2/b0.ibn/dw/act", inner)
    inner = net.squeeze_excite("C2/b0.ibn/se", inner, 16)
    inner = net.norm("C2/b0.ibn/project", net.conv("C2/b0.ibn/project", inner, (16, 8)), 8)
    data = net.node("Add", "C2/b0.ibn/add", inner, data)
    rows = net.conv("head/l0/box/pw", data, (8, 12), bias=True)
    rows = net.node("Transpose", "head/l0/box/transpose", rows, perm=[0, 2, 3, 1])
    shape = net.weight("head/l0/box/shape", np.array([1, -1, 4], np.int64))
    return net.model(net.node("Reshape", "head/l0/box/reshape", rows, shape))

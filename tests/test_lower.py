"""Lowered models: valid for every runtime, named by their blocks, and equal to a network computed by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mdcompiler.errors import WeightsError
from mdcompiler.lower import lower
from mdcompiler.reference import run_reference
from mdcompiler.spec import SearchSpace, Spec, build_network, count, load_spec, parse_spec, weight_shapes, zoo_names
from mdcompiler.spec.anchors import make_anchors

Array = NDArray[Any]


def random_weights(spec: Spec, seed: int = 0) -> dict[str, Array]:
    """Weights that keep activations alive: variances around 1, He-scaled convolutions."""
    random = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for name, shape in weight_shapes(spec).items():
        if name.endswith(("variance", "gamma")):
            values = random.uniform(0.5, 1.5, shape)
        elif name.endswith("weight"):
            values = random.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        else:
            values = random.normal(size=shape) * 0.1
        made[name] = values.astype(np.float32)
    return made


def picture(spec: Spec, seed: int = 0) -> dict[str, NDArray[Any]]:
    shape = (1, spec.input.height, spec.input.width, 3)
    return {"image": np.random.default_rng(seed).integers(0, 256, shape, np.uint8)}


def check_promises(model: onnx.ModelProto) -> None:
    """What the first stage promises about every graph."""
    onnx.checker.check_model(model, full_check=True)
    graph = model.graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert all(names)
    typed = {info.name for info in (*graph.value_info, *graph.output)}
    made = {tensor for node in graph.node for tensor in node.output}
    assert typed == made
    for info in (*graph.value_info, *graph.output):
        assert all(dim.HasField("dim_value") for dim in info.type.tensor_type.shape.dim)
    for node in graph.node:
        assert len(node.output) > 1 or node.output[0] in (node.name, "box_encodings", "class_scores")


@pytest.mark.parametrize("name", zoo_names())
@pytest.mark.parametrize(("height", "width_px", "width"), [(65, 96, 0.5), (64, 64, 0.25)])
def test_zoo_lowers_and_runs(name: str, height: int, width_px: int, width: float) -> None:
    spec = load_spec(name).with_(height=height, width_px=width_px, width=width)
    weights = random_weights(spec)
    anchors = count(spec).anchors
    raw = lower(spec, weights, raw=True)
    check_promises(raw)
    outputs = run_reference(raw, picture(spec))
    assert outputs["box_encodings"].shape == (1, anchors, 4)
    assert outputs["class_scores"].shape == (1, anchors, 91)
    assert np.isfinite(outputs["box_encodings"]).all()
    assert outputs["class_scores"].std() > 1e-3
    model = lower(spec, weights)
    check_promises(model)
    found = run_reference(model, picture(spec))
    rows = spec.postprocess.max_detections
    shapes = {name: array.shape for name, array in found.items()}
    assert shapes == {"boxes": (1, rows, 4), "classes": (1, rows), "scores": (1, rows), "count": (1,)}
    assert found["scores"].max() == pytest.approx(outputs["class_scores"][..., 1:].max(), abs=1e-6)


@pytest.mark.parametrize(("name", "size"), [("mobiledet-cpu", 257), ("mobiledet-edgetpu", 300), ("mobiledet-cpu", 320)])
def test_full_size_shapes(name: str, size: int) -> None:
    spec = load_spec(name).with_(height=size, width_px=size)
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(spec).items()}
    check_promises(lower(spec, weights))


def test_outputs_at_320() -> None:
    spec = load_spec("mobiledet-gpu")
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(spec).items()}
    model = lower(spec, weights, raw=True)
    shapes = {out.name: [dim.dim_value for dim in out.type.tensor_type.shape.dim] for out in model.graph.output}
    assert shapes == {"box_encodings": [1, 2034, 4], "class_scores": [1, 2034, 91]}


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.booleans())
def test_every_sample_lowers_and_runs(seed: int, raw: bool) -> None:
    spec = SearchSpace.small().sample(seed)
    model = lower(spec, random_weights(spec, seed), raw=raw)
    check_promises(model)
    for array in run_reference(model, picture(spec, seed)).values():
        assert np.isfinite(array).all()


def test_macs_of_the_graph_are_those_of_the_spec() -> None:
    spec = SearchSpace.small().sample(5)
    graph = lower(spec, random_weights(spec), raw=True).graph
    weights = {item.name: item.dims for item in graph.initializer}
    outputs = {info.name: info.type.tensor_type.shape.dim for info in graph.value_info}
    macs = 0
    for node in graph.node:
        if node.op_type == "Conv":
            height, width = (dim.dim_value for dim in list(outputs[node.output[0]])[2:])
            macs += int(np.prod(weights[node.input[1]])) * height * width
    assert macs == count(spec).macs


def test_names_of_a_block() -> None:
    spec = load_spec("mobiledet-cpu").with_(height=32, width_px=32)
    nodes = [node.name for node in lower(spec, random_weights(spec)).graph.node]
    block = [name.removeprefix("C4/b1.ibn/") for name in nodes if name.startswith("C4/b1.ibn/")]
    assert block == [
        "expand/conv", "expand/bn", "expand/act", "dw/conv", "dw/bn", "dw/act",
        "se/pool", "se/reduce/conv", "se/reduce/act", "se/expand/conv", "se/gate", "se/mul",
        "project/conv", "project/bn", "add",
    ]  # fmt: skip
    assert nodes[:4] == ["input/cast", "input/transpose", "input/scale", "input/offset"]
    assert nodes[-4:] == ["head/concat_boxes", "head/concat_scores", "head/sigmoid", "head/postprocess"]


TOY = """
name: toy
input: {height: 9, width: 8, scale: 0.01, offset: -1}
defaults: {activation: swish, epsilon: 0.01, se: 0.5, se_gate: hard-sigmoid, se_activation: relu}
rounding: {divisor: 1, minimum: 1}
blocks:
  C4:
    - {kind: conv, out: 4, kernel: 5, stride: 2, activation: hard-swish}
    - {kind: ibn, out: 4, expansion: 2, activation: relu6}
    - {kind: tucker, out: 4, input_ratio: 0.5, output_ratio: 0.75, residual: off}
    - {kind: fused, out: 6, expansion: 1.5, stride: 2, se: 0}
head: {levels: [C4], extra: [4], minimum: 1, classes: 2}
"""


def test_numbers_equal_a_network_computed_by_hand() -> None:
    spec = parse_spec(TOY, "toy")
    weights = random_weights(spec, 1)
    image = picture(spec, 1)
    ours = run_reference(lower(spec, weights, raw=True), image)
    boxes, scores = _by_hand(weights, image["image"])
    np.testing.assert_allclose(ours["box_encodings"], boxes, atol=1e-5)
    np.testing.assert_allclose(ours["class_scores"], scores, atol=1e-5)


def test_metadata_and_anchors() -> None:
    spec = load_spec("mobiledet-cpu").with_(height=33, width_px=33)
    model = lower(spec, random_weights(spec))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert parse_spec(metadata["mdc.spec"], "metadata") == spec
    assert json.loads(metadata["mdc.labels"])[0] == "person"
    stored = next(item for item in model.graph.initializer if item.name == "head/anchors")
    expected = make_anchors(spec.head.anchors, build_network(spec).sizes)
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(stored), expected)


def test_wrong_weights_are_all_listed() -> None:
    spec = SearchSpace.small().sample(0)
    weights = random_weights(spec)
    weights["surplus"] = weights.pop("head/l0/box/pw/bias")
    weights["head/l0/class/pw/bias"] = np.zeros(1, np.float32)
    with pytest.raises(WeightsError) as caught:
        lower(spec, weights)
    for name in ("surplus", "head/l0/box/pw/bias", "head/l0/class/pw/bias"):
        assert name in str(caught.value)


def _by_hand(weights: dict[str, Array], image: NDArray[Any]) -> tuple[Array, Array]:
    """The toy network in NumPy, channels last, straight from the definition of each block."""

    def layer(x: Array, path: str, stride: int = 1, *, epsilon: float = 0.01, depthwise: bool = False) -> Array:
        y = _same_conv(x, weights[f"{path}/weight"], stride, depthwise)
        if f"{path}/bias" in weights:
            return y + weights[f"{path}/bias"]
        gamma, beta, mean, variance = (weights[f"{path}/bn/{part}"] for part in ("gamma", "beta", "mean", "variance"))
        return np.asarray((y - mean) / np.sqrt(variance + epsilon) * gamma + beta, np.float32)

    def relu6(x: Array) -> Array:
        return np.clip(x, 0, 6)

    def sigmoid(x: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-x)), np.float32)

    def swish(x: Array) -> Array:
        return x * sigmoid(x)

    x: Array = image[0].astype(np.float32) * np.float32(0.01) - np.float32(1)
    x = layer(x, "C4/b0.conv/conv", 2)
    x = x * relu6(x + 3) / 6
    h = relu6(layer(x, "C4/b1.ibn/expand"))
    h = relu6(layer(h, "C4/b1.ibn/dw", depthwise=True))
    gate = np.maximum(layer(h.mean((0, 1), keepdims=True), "C4/b1.ibn/se/reduce"), 0)
    h = h * relu6(layer(gate, "C4/b1.ibn/se/expand") + 3) / 6
    x = x + layer(h, "C4/b1.ibn/project")
    h = swish(layer(swish(layer(x, "C4/b2.tucker/reduce")), "C4/b2.tucker/core"))
    x = layer(h, "C4/b2.tucker/project")
    x = layer(swish(layer(x, "C4/b3.fused/expand", 2)), "C4/b3.fused/project")
    h = relu6(layer(x, "extra/l1/reduce", epsilon=0.001))
    h = relu6(layer(h, "extra/l1/dw", 2, epsilon=0.001, depthwise=True))
    levels = [x, relu6(layer(h, "extra/l1/expand", epsilon=0.001))]

    def predict(kind: str, slots: int) -> Array:
        rows = []
        for index, level in enumerate(levels):
            h = relu6(layer(level, f"head/l{index}/{kind}/dw", epsilon=0.001, depthwise=True))
            rows.append(layer(h, f"head/l{index}/{kind}/pw").reshape(1, -1, slots))
        return np.concatenate(rows, axis=1)

    return predict("box", 4), sigmoid(predict("class", 3))


def _same_conv(x: Array, weight: Array, stride: int, depthwise: bool) -> Array:
    """TensorFlow's SAME convolution of x [H,W,C] with an OIHW weight, one output pixel at a time."""
    kernel = weight.shape[2]
    out = [-(-size // stride) for size in x.shape[:2]]
    total = [max((n - 1) * stride + kernel - size, 0) for n, size in zip(out, x.shape[:2], strict=True)]
    padded = np.pad(x, [*((t // 2, t - t // 2) for t in total), (0, 0)])
    y = np.zeros((*out, weight.shape[0]), np.float32)
    for row in range(out[0]):
        for column in range(out[1]):
            window = padded[row * stride : row * stride + kernel, column * stride : column * stride + kernel]
            spelled = "hwc,cxhw->c" if depthwise else "hwi,oihw->o"
            y[row, column] = np.einsum(spelled, window, weight)
    return y

"""Reading foreign ONNX files: what is accepted, what is refused and in which words, and that nothing else happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mdcompiler import onnx_file, onnx_limits, onnx_shapes
from mdcompiler.errors import ModelError
from mdcompiler.lower import lower
from mdcompiler.module import Module
from mdcompiler.onnx_reader import module_from_model, prepare_model, read_onnx
from mdcompiler.passes import builtin_passes
from mdcompiler.pipeline import Pipeline
from mdcompiler.spec import SearchSpace, weight_shapes
from mdcompiler.target import find_target
from mdcompiler.verify import check_structure
from mdcompiler.weights.seeded import seeded_weights
from tests.graphs import Sketch, detector_like, mobilenet_v2_like, resnet_like
from tests.pass_checks import assert_same_numbers

TARGET = find_target("null")


def read(model: onnx.ModelProto) -> Module:
    return module_from_model(model, TARGET)


def refusal(model: onnx.ModelProto) -> str:
    """The message with which `model` is refused."""
    with pytest.raises(ModelError) as caught:
        read(model)
    return str(caught.value)


def sine(*shape: Any, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """One node; no shape is inferred."""
    graph = helper.make_graph(
        [helper.make_node("Sin", ["x"], ["y"], name="sin")],
        "g",
        [helper.make_tensor_value_info("x", dtype, list(shape))],
        [onnx.ValueInfoProto(name="y")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# What is accepted


@pytest.mark.parametrize("model", [resnet_like(), mobilenet_v2_like(), detector_like()], ids=["r", "m", "d"])
def test_torch_style_networks(model: onnx.ModelProto) -> None:
    module = read(model)
    check_structure(module)
    assert_same_numbers(module.to_onnx(), model)


def test_our_own_files_come_back_equal(tmp_path: Path) -> None:
    spec = SearchSpace.small().sample(1)
    first = Module.from_onnx(lower(spec, seeded_weights(weight_shapes(spec))), TARGET)
    Pipeline().run(first, builtin_passes())
    path = tmp_path / "model.onnx"
    path.write_bytes(first.to_onnx().SerializeToString())
    second = read_onnx(path, TARGET)
    assert second.to_onnx() == first.to_onnx()
    assert second.history == first.history != []
    assert second.metadata["mdc.spec"] == spec.to_json()
    assert [node.attrs for node in second.graph.nodes] == [node.attrs for node in first.graph.nodes]


@pytest.mark.parametrize("version", [7, 9, 11, 13, 16])
def test_old_operator_sets_are_converted(version: int) -> None:
    model = resnet_like()
    model.opset_import[0].version = version
    module = read(model)
    assert module.graph.opset == 17
    assert_same_numbers(module.to_onnx(), resnet_like())


def test_clip_and_pad_with_attributes_are_converted() -> None:
    net = Sketch(opset=10)
    data = net.node("Clip", "clip", net.input("x", [1, 2, 3, 4]), min=-0.5, max=0.5)
    model = net.model(net.node("Pad", "pad", data, pads=[0, 0, 1, 1, 0, 0, 0, 0]))
    assert [node.op for node in read(model).graph.nodes] == ["Clip", "Pad"]
    assert_same_numbers(read(model).to_onnx(), model)


@pytest.mark.parametrize("version", [18, 22, onnx_limits.NEWEST_OPSET])
def test_newer_operator_sets_stay(version: int) -> None:
    model = resnet_like()
    model.opset_import[0].version = version
    assert read(model).graph.opset == version


def test_the_long_name_of_the_standard_domain() -> None:
    model = sine(2, 3)
    model.opset_import[0].domain = "ai.onnx"
    assert read(model).graph.opset == 17


def test_nodes_in_any_order() -> None:
    model = resnet_like()
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert_same_numbers(read(model).to_onnx(), resnet_like())


def test_missing_and_double_names_are_repaired() -> None:
    model = resnet_like()
    for node in model.graph.node[:3]:
        node.name = ""
    model.graph.node[5].name = model.graph.node[6].name
    names = [node.name for node in read(model).graph.nodes]
    assert len(set(names)) == len(names)
    assert all(names)
    assert names[0] == "Conv_0"


def test_weights_that_are_listed_as_inputs() -> None:
    model = resnet_like()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3
    assert [tensor.name for tensor in read(model).graph.inputs] == ["input"]


def test_constant_nodes_become_weights() -> None:
    net = Sketch()
    value = numpy_helper.from_array(np.array([1, -1], np.int64))
    model = net.model(net.node("Reshape", "r", net.input("x", [2, 3]), net.node("Constant", "c", value=value)))
    assert [node.op for node in read(model).graph.nodes] == ["Reshape"]


@pytest.mark.parametrize("batch", ["N", None])
def test_a_symbolic_batch_becomes_one(batch: str | None) -> None:
    module = read(sine(batch, 3))
    assert module.graph.inputs[0].shape == [1, 3]
    assert module.graph.outputs[0].shape == [1, 3]
    assert module.metadata == {"mdc.batch": "1"}


def test_a_false_claim_about_an_inner_shape_is_ignored() -> None:
    net = Sketch()
    model = net.model(net.node("Cos", "cos", net.node("Sin", "sin", net.input("x", [2, 3]))))
    del model.graph.value_info[:]
    model.graph.value_info.append(helper.make_tensor_value_info("sin", TensorProto.FLOAT, ["A", "B"]))
    assert read(model).graph.tensors()["sin"].shape == [2, 3]


def test_the_model_given_is_not_changed() -> None:
    model = sine("N", 3)
    before = model.SerializeToString()
    prepare_model(model)
    assert model.SerializeToString() == before


# What is refused


def test_other_dynamic_sizes() -> None:
    assert "tensor 'x' (input) has a dynamic shape: axis 0 is 'N', axis 1 is 'H'" in refusal(sine("N", "H"))
    assert "dynamic shape: axis 1 is unknown" in refusal(sine(1, None))
    message = refusal(sine(2, -1))
    assert "dynamic shape: axis 1 is -1" in message
    assert "overwrite-input-shape" in message


def test_sizes_that_depend_on_values() -> None:
    net = Sketch()
    model = net.model(net.node("NonZero", "nonzero", net.input("x", [2, 3])))
    assert re.search(r"'nonzero' \(result of nonzero\) has a dynamic shape: axis 1 is", refusal(model))


def test_an_input_without_a_shape() -> None:
    model = sine(2, 3)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "tensor 'x' (input) has no known shape" in refusal(model)


def test_shapes_that_do_not_fit() -> None:
    net = Sketch()
    model = net.model(net.node("Add", "sum", net.input("x", [2, 3]), net.weight("w", np.ones((2, 3), np.float32))))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.ones((2, 4), np.float32), "w"))
    assert "shapes of the model do not fit together" in refusal(model)


def test_a_loop_is_shown() -> None:
    model = sine(2, 3)
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node("Add", ["x", "c"], ["a"], name="first"),
            helper.make_node("Sin", ["a"], ["b"], name="second"),
            helper.make_node("Cos", ["b"], ["c"], name="third"),
            helper.make_node("Sin", ["c"], ["y"], name="last"),
        ]
    )
    assert "the model has a loop: first -> second -> third -> …" in refusal(model)


def test_a_tensor_that_is_made_twice() -> None:
    model = sine(2, 3)
    model.graph.node.append(helper.make_node("Cos", ["x"], ["y"], name="again"))
    assert "tensor 'y' is made twice, once by again" in refusal(model)


def test_a_tensor_that_nothing_makes() -> None:
    model = sine(2, 3)
    model.graph.node[0].input[0] = "nowhere"
    assert "node 'sin' (Sin) reads 'nowhere', which nothing makes" in refusal(model)
    model = sine(2, 3)
    model.graph.output[0].name = "missing"
    assert "output 'missing' is made by no node" in refusal(model)


def branch(op: str, name: str = "b") -> onnx.GraphProto:
    """A branch of an If: `op` of the tensor `x` around it."""
    return helper.make_graph([helper.make_node(op, ["x"], [name])], "branch", [], [onnx.ValueInfoProto(name=name)])


def choice(condition: str) -> onnx.ModelProto:
    model = sine(2, 3)
    model.graph.node[0].output[0] = "s"
    model.graph.node.append(
        helper.make_node("If", [condition], ["y"], name="choice", then_branch=branch("Cos"), else_branch=branch("Tan"))
    )
    return model


def test_control_flow() -> None:
    model = choice("go")
    model.graph.input.append(helper.make_tensor_value_info("go", TensorProto.BOOL, []))
    assert "node 'choice' (If): control flow cannot be compiled" in refusal(model)


@pytest.mark.parametrize(("condition", "taken"), [(True, "Cos"), (False, "Tan")])
def test_a_branch_that_is_always_taken(condition: bool, taken: str) -> None:
    model = choice("go")
    model.graph.initializer.append(numpy_helper.from_array(np.array(condition), "go"))
    module = read(model)
    assert [node.op for node in module.graph.nodes] == [taken, "Identity"]
    assert_same_numbers(module.to_onnx(), model)


def test_control_flow_that_no_output_needs() -> None:
    model = sine(2, 3)
    model.graph.node.append(
        helper.make_node("If", ["x"], ["z"], then_branch=branch("Cos"), else_branch=branch("Nonsense"))
    )
    assert [node.op for node in read(model).graph.nodes] == ["Sin"]


def test_unknown_domains_and_operators() -> None:
    model = sine(2, 3)
    model.graph.node[0].domain = "com.microsoft"
    assert "the domain 'com.microsoft' is unknown" in refusal(model)
    model.graph.node[0].domain = "mdc"
    assert re.search("mdc has no operator Sin; there are .*ChangeLayout", refusal(model))


def test_operators_that_onnx_does_not_know() -> None:
    model = sine(2, 3)
    model.graph.node[0].op_type = "Sinus"
    assert "ONNX has no operator Sinus" in refusal(model)


def calling(*bodies: tuple[str, list[str]]) -> onnx.ModelProto:
    """Functions by name with the operators they are made of; the network is one call of the first."""
    model = sine(2, 3)
    model.graph.node[0].op_type, model.graph.node[0].domain = bodies[0][0], "my"
    model.opset_import.append(helper.make_opsetid("my", 1))
    for name, operators in bodies:
        steps = [
            helper.make_node(op, [f"t{i}"], [f"t{i + 1}"], domain="" if op == "Sin" else "my")
            for i, op in enumerate(operators)
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
        model.functions.append(helper.make_function("my", name, ["t0"], [f"t{len(operators)}"], steps, imports))
    return model


def test_functions_of_the_model_are_written_out() -> None:
    model = calling(("Own", ["Twice", "Sin"]), ("Twice", ["Sin", "Sin"]))
    module = read(model)
    assert [node.op for node in module.graph.nodes] == ["Sin"] * 3
    assert_same_numbers(module.to_onnx(), model)


def test_functions_without_an_end() -> None:
    assert "function my.A of the model calls itself" in refusal(calling(("A", ["B"]), ("B", ["A"])))
    deep = [(f"F{i}", [f"F{i + 1}", f"F{i + 1}"]) for i in range(40)]
    assert f"has {1 << 40} nodes; at most" in refusal(calling(*deep, ("F40", ["Sin"])))


def test_training_and_chance() -> None:
    net = Sketch()
    model = net.model(net.norm("b", net.input("x", [1, 3, 2, 2]), 3))
    model.graph.node[0].attribute.append(helper.make_attribute("training_mode", 1))
    assert "training mode. Export the model in evaluation mode" in refusal(model)
    net = Sketch()
    net.input("x", [2])
    assert "draws random numbers" in refusal(net.model(net.node("RandomNormal", "dice", shape=[2])))


@pytest.mark.parametrize("version", [1, onnx_limits.OLDEST_OPSET - 1, onnx_limits.NEWEST_OPSET + 1, 99])
def test_operator_sets_out_of_range(version: int) -> None:
    model = sine(2, 3)
    model.opset_import[0].version = version
    expected = f"it uses opset {version}; {onnx_limits.OLDEST_OPSET} to {onnx_limits.NEWEST_OPSET} are read"
    assert expected in refusal(model)


def test_no_operator_set_at_all() -> None:
    model = sine(2, 3)
    del model.opset_import[:]
    assert "does not say which operator set" in refusal(model)


def test_an_old_operator_that_cannot_be_converted() -> None:
    net = Sketch(opset=9)
    data = net.node("Upsample", "up", net.input("x", [1, 1, 2, 2]), net.weight("s", np.ones(4, np.float32)))
    model = net.model(data)
    model.graph.node[0].op_type = "Nonsense"
    assert re.search("uses opset 9 and cannot be converted to 17|Nonsense", refusal(model))


def test_element_types() -> None:
    assert "element type STRING; allowed are floats" in refusal(sine(2, 3, dtype=TensorProto.STRING))
    assert "element type BFLOAT16" in refusal(sine(2, 3, dtype=TensorProto.BFLOAT16))
    model = sine(2, 3)
    model.graph.initializer.append(TensorProto(name="words", data_type=TensorProto.STRING, dims=[1]))
    model.graph.node[0].input[0] = "words"
    assert "weight 'words' of shape [1] cannot be read: its element type is STRING" in refusal(model)


def test_a_weight_with_too_few_values() -> None:
    model = resnet_like()
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-4]
    assert f"weight {tensor.name!r} of shape {list(tensor.dims)} cannot be read" in refusal(model)


def test_operands_that_do_not_fit() -> None:
    def damaged(name: str, shape: tuple[int, ...], group: int = 1) -> str:
        net = Sketch()
        data = net.conv("c", net.input("x", [1, 4, 5, 5]), (4, 6), 3, bias=True, group=1)
        model = net.model(net.norm("n", data, 6))
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
        tensor.CopyFrom(numpy_helper.from_array(np.ones(shape, np.float32), name))
        model.graph.node[0].attribute.append(helper.make_attribute("kernel_shape", [3, 3]))
        next(a for a in model.graph.node[0].attribute if a.name == "group").i = group
        return refusal(model)

    assert "'c/conv' (Conv): its data has 4 channels and its weights are for 5" in damaged("c/weight", (6, 5, 3, 3))
    assert "kernel_shape is [3, 3] and the weights have [1, 1]" in damaged("c/weight", (6, 4, 1, 1))
    assert "group is 4; it must divide 6" in damaged("c/weight", (6, 1, 3, 3), group=4)
    assert "its bias 'c/bias' has shape [5]; [6] is needed" in damaged("c/bias", (5,))
    assert "shapes of the model do not fit together" in damaged("n/bn/mean", (1,))


def test_sparse_weights() -> None:
    model = sine(2, 3)
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    assert "it has sparse weights" in refusal(model)


def test_too_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_limits, "MAX_NODES", 5)
    assert re.search(r"it has \d+ nodes; 1 to 5 can be compiled", refusal(resnet_like()))


def test_no_nodes() -> None:
    model = sine(2, 3)
    del model.graph.node[:]
    assert "it has 0 nodes" in refusal(model)


def test_tensors_that_would_fill_the_memory() -> None:
    assert re.search("has .* elements; at most", refusal(sine(1 << 20, 1 << 20)))
    net = Sketch()
    shape = net.weight("shape", np.array([1 << 20, 1 << 20], np.int64))
    net.input("x", [2])
    message = refusal(net.model(net.node("ConstantOfShape", "huge", shape)))
    assert (
        f"tensor 'huge' (result of huge) has {1 << 40} elements; at most {onnx_shapes.MAX_TENSOR_ELEMENTS}" in message
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mdc.kernel", "5", "mdc.kernel is 5; a text"),
        ("mdc.kind", '"rocket"', "mdc.kind is 'rocket'; one of stem, pointwise"),
        ("mdc.kind", "[1]", "mdc.kind is [1]; one of"),
        ("mdc.kernel", "{", "the mark mdc.kernel: Expecting property name"),
        ("mdc.precision", '"int4"', "one of int8, int16, float"),
    ],
)
def test_wrong_marks(key: str, value: str, message: str) -> None:
    model = sine(2, 3)
    model.graph.node[0].metadata_props.add(key=key, value=value)
    assert message in refusal(model)


def test_marks_that_form_a_loop() -> None:
    net = Sketch()
    model = net.model(net.node("Sin", "c", net.node("Cos", "b", net.node("Sin", "a", net.input("x", [2])))))
    for node, kernel in zip(model.graph.node, ('"one"', '"two"', '"one"'), strict=True):
        node.metadata_props.add(key="mdc.kernel", value=kernel)
    assert "marks mdc.kernel in the model are wrong: these kernels wait for one another" in refusal(model)


@pytest.mark.parametrize("value", ["{}", "[1]", "no json"])
def test_a_wrong_history(value: str) -> None:
    model = sine(2, 3)
    model.metadata_props.add(key="mdc.history", value=value)
    assert "the ONNX model's metadata mdc.history: " in refusal(model)


# Files


def file_refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_onnx(path, TARGET)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in file_refusal(tmp_path / "missing.onnx")
    assert "cannot be read: Is a directory" in file_refusal(tmp_path)
    (tmp_path / "text.onnx").write_text("this is a text, not a model")
    assert "is no ONNX model or was cut short" in file_refusal(tmp_path / "text.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "it has 0 nodes" in file_refusal(tmp_path / "empty.onnx")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file(tmp_path: Path, share: float) -> None:
    content = resnet_like().SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    file_refusal(path)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_FILE_BYTES", 100)
    path = tmp_path / "model.onnx"
    path.write_bytes(resnet_like().SerializeToString())
    assert "at most 100 are read" in file_refusal(path)


def test_the_message_names_the_file_once(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(sine(2, "H").SerializeToString())
    assert file_refusal(path).count(str(path)) == 1


def with_weights_beside(path: Path) -> None:
    """Write a network whose weights are in the file `weights.bin` beside it."""
    onnx.save(resnet_like(), str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)


def test_weights_beside_the_model(tmp_path: Path) -> None:
    with_weights_beside(tmp_path / "model.onnx")
    assert_same_numbers(read_onnx(tmp_path / "model.onnx", TARGET).to_onnx(), resnet_like())


def relocate(path: Path, location: str, **entries: str) -> None:
    """Let every weight of the model in `path` claim to be stored in `location`."""
    model = onnx.load(str(path), load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = {"location": location, **entries}.get(entry.key, entry.value)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../weights.bin", ""])
def test_weights_elsewhere(tmp_path: Path, location: str) -> None:
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "model.onnx"
    with_weights_beside(path)
    (tmp_path / "weights.bin").write_bytes((tmp_path / "model" / "weights.bin").read_bytes())
    relocate(path, location)
    assert "only files in the folder of the model are read" in file_refusal(path)


def test_weights_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "model.onnx"
    with_weights_beside(path)
    (tmp_path / "model" / "weights.bin").rename(tmp_path / "elsewhere.bin")
    (tmp_path / "model" / "weights.bin").symlink_to(tmp_path / "elsewhere.bin")
    assert "only files in the folder of the model are read" in file_refusal(path)


def test_weights_that_are_missing_or_short(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with_weights_beside(path)
    weights = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "weights.bin").write_bytes(weights[:-8])
    assert "It was cut short: copy it again" in file_refusal(path)
    (tmp_path / "weights.bin").unlink()
    assert "which is missing" in file_refusal(path)


@pytest.mark.parametrize("entries", [{"offset": "-8"}, {"length": "many"}, {"length": "²"}])
def test_weights_at_odd_places(tmp_path: Path, entries: dict[str, str]) -> None:
    path = tmp_path / "model.onnx"
    with_weights_beside(path)
    relocate(path, "weights.bin", **entries)
    assert "a whole number" in file_refusal(path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_damaged_bytes_end_in_a_message(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(detector_like().SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(content))
    message = ""
    try:
        check_structure(read_onnx(path, TARGET))
    except ModelError as error:
        message = str(error)
    assert len(message) < 1500

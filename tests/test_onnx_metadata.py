"""Notes in an ONNX file from elsewhere: each has its form and its bounds, and none is a path."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from onnx import helper

from mdcompiler.errors import ModelError, TargetError
from mdcompiler.onnx_limits import MAX_NAME_CHARACTERS
from mdcompiler.onnx_reader import module_from_model
from mdcompiler.quantization.scheme import find_scheme, read_scheme, write_scheme
from mdcompiler.read_network import labels_of
from mdcompiler.target import find_target

ACCURACY = {
    "ends_db": {"y": 30.0},
    "samples": 3,
    "map_lost": None,
    "map_points": None,
    "precision": {"C1": "int16"},
    "share_outside_int8": 0.25,
    "degraded": [{"block": "C1", "measure": "steps", "value": 1.0, "limit": 16.0, "fix": "Give it 16 bits."}],
}


def model(key: str = "", value: str = "", name: str = "it") -> onnx.ModelProto:
    node = helper.make_node("Relu", ["x"], ["y"], name=name)
    ends = [helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, [2]) for end in ("x", "y")]
    made = helper.make_model(helper.make_graph([node], "g", ends[:1], ends[1:]), ir_version=8)
    made.opset_import[0].version = 17
    if key:
        made.metadata_props.add(key=key, value=value)
    return made


BAD = {
    "labels, no list": ("mdc.labels", '{"a": 1}', "valid list"),
    "labels, numbers": ("mdc.labels", "[1, 2]", "valid string"),
    "labels, too many": ("mdc.labels", json.dumps(["a"] * 10_001), "at most 10000"),
    "labels, too long": ("mdc.labels", json.dumps(["a" * 101]), "at most 100 characters"),
    "labels, half a character": ("mdc.labels", r'["\ud800"]', "half a character"),
    "labels, large": ("mdc.labels", json.dumps(["a" * (5 << 20)]), "at most 1048576 are read"),
    "labels, deep": ("mdc.labels", "[" * 100_000, "nested"),
    "history": ("mdc.history", "nope", "Expecting value"),
    "accuracy, no json": ("mdc.accuracy", "nope", "Expecting value"),
    "accuracy, something else": ("mdc.accuracy", "[]", "valid dictionary"),
    "accuracy, no ends": ("mdc.accuracy", '{"samples": 3}', "ends_db: Field required"),
    "accuracy, NaN": ("mdc.accuracy", '{"samples": NaN}', "NaN is no number"),
    "accuracy, other faults": ("mdc.accuracy", json.dumps({**ACCURACY, "degraded": [{"x": 1}]}), "degraded.0.block"),
    "adapted": ("mdc.adapted", "x" * 10_001, "at most 10000 are read"),
    "spec": ("mdc.spec", "x" * (1 << 19), "at most 262144 are read"),
    "scheme, a name": ("mdc.scheme", "rocket", "names the quantization scheme 'rocket', which does not ship"),
    "scheme, deep": ("mdc.scheme", '{"a":' * 5000, "nested more than 16 deep"),
    "scheme, a date": ("mdc.scheme", '{"name": 2001-02-30}', "activation: Field required"),
    "all": ("other", "x" * (17 << 20), "at most 16777216 are read"),
}


@pytest.mark.parametrize("name", BAD)
def test_notes_that_are_none_of_ours_are_refused(name: str) -> None:
    key, value, why = BAD[name]
    with pytest.raises(ModelError, match=why) as told:
        module_from_model(model(key, value), find_target("null"))
    assert len(str(told.value)) < 2500
    assert name == "all" or f"metadata {key}: " in str(told.value)


def test_a_scheme_is_a_name_and_never_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret.yaml"
    secret.write_text("password: hunter2\n")
    monkeypatch.chdir(tmp_path)
    for path in (str(secret), "secret.yaml", "../secret.yaml", "/etc/hosts.yml"):
        with pytest.raises(ModelError, match="does not ship") as told:
            module_from_model(model("mdc.scheme", path), find_target("null"))
        assert "hunter2" not in str(told.value)
        assert "password" not in str(told.value)
        with pytest.raises(TargetError, match="does not ship"):
            read_scheme({"mdc.scheme": path})


def test_schemes_come_back() -> None:
    shipped = find_scheme("cpu")
    for scheme in (shipped, shipped.model_copy(update={"name": "mine"})):
        metadata: dict[str, str] = {}
        write_scheme(metadata, scheme)
        assert read_scheme(metadata) == scheme
    assert read_scheme({}) is None


def test_good_notes_are_kept() -> None:
    made = model("mdc.labels", json.dumps(["cat", "dög"]))
    made.metadata_props.add(key="mdc.accuracy", value=json.dumps(ACCURACY))
    made.metadata_props.add(key="names", value="{0: 'person'}")
    module = module_from_model(made, find_target("null"))
    assert labels_of(module) == ("cat", "dög")
    assert set(module.metadata) == {"mdc.labels", "mdc.accuracy", "names"}


def test_names_are_bounded() -> None:
    module_from_model(model(name="n" * MAX_NAME_CHARACTERS), find_target("null"))
    for made in (model(name="n" * (5 << 20)), model()):
        if made.graph.node[0].name == "it":
            made.graph.node[0].output[0] = made.graph.output[0].name = "y" * (5 << 20)
        with pytest.raises(ModelError, match=r"a name of 5242880 characters, '.{39}…'; at most 4096") as told:
            module_from_model(made, find_target("null"))
        assert len(str(told.value)) < 300

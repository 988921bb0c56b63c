"""Specs survive a round trip through both file formats, and the schema accepts what the reader accepts."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdcompiler.errors import SpecError
from mdcompiler.spec import SearchSpace, Spec, json_schema, load_spec, parse_spec, zoo_names


@pytest.mark.parametrize("name", zoo_names())
def test_zoo_round_trips(name: str) -> None:
    spec = load_spec(name)
    assert spec.name == name
    assert parse_spec(spec.to_yaml(), "again.yaml") == spec
    assert parse_spec(spec.to_json(), "again.json") == spec


@given(st.integers(0, 2**32))
def test_samples_round_trip(seed: int) -> None:
    spec = SearchSpace.small().sample(seed)
    assert parse_spec(spec.to_yaml(), "again.yaml") == spec
    assert parse_spec(spec.to_json(), "again.json").to_json() == spec.to_json()


def test_json_indented_with_tabs(tmp_path: Path) -> None:
    spec = load_spec("mobiledet-cpu")
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec.to_data(), indent="\t"))
    assert load_spec(path) == spec


def test_json_faults_have_lines() -> None:
    text = json.dumps({**load_spec("mobiledet-cpu").to_data(), "width": -1}, indent=1)
    line = 1 + text[: text.index('"width": -1')].count("\n")
    with pytest.raises(SpecError, match=rf"x\.json:{line}: width is -1; a number from 0\.01 to 16"):
        parse_spec(text, "x.json")


@pytest.mark.parametrize("name", zoo_names())
def test_schema_accepts_the_zoo(name: str) -> None:
    _validator().validate(load_spec(name).to_data())


@pytest.mark.parametrize(
    ("part", "value"),
    [("width", 0), ("blocks", {}), ("blocks", {"C1": [{"kind": "conv", "out": 8, "kernel": 4}]}), ("hed", {})],
)
def test_schema_refuses_what_the_reader_refuses(part: str, value: object) -> None:
    data = {**load_spec("mobiledet-cpu").to_data(), part: value}
    assert not _validator().is_valid(data)
    with pytest.raises(SpecError):
        parse_spec(json.dumps(data), "x.json")


def test_words_and_numbers_follow_yaml_1_2() -> None:
    text = "name: x\nblocks: {C4: [{kind: ibn, out: 3, expansion: 1, residual: off}]}\nhead: {levels: [C4]}\n"
    spec = parse_spec(text + "postprocess: {score_threshold: 1e-8}\n", "x.yaml")
    assert spec.postprocess.score_threshold == 1e-8
    assert spec.to_data()["blocks"]["C4"][0]["residual"] == "off"


def test_derived_specs() -> None:
    spec = load_spec("mobiledet-cpu")
    small = spec.with_(width=0.5, height=64, width_px=96, classes=2)
    assert (small.width, small.input.height, small.input.width) == (0.5, 64, 96)
    assert small.head.class_slots == 3
    assert small.head.label_names == ()
    assert spec.with_() == spec
    assert spec.head.label_names[16:18] == ("cat", "dog")
    with pytest.raises(SpecError, match=r"mobiledet-cpu: input\.height is 2; an integer from 8 to 4096"):
        spec.with_(height=2)


def test_specs_are_immutable() -> None:
    spec = load_spec("mobiledet-cpu")
    with pytest.raises(ValueError, match="frozen"):
        spec.__setattr__("width", 2.0)
    assert isinstance(spec, Spec)


def _validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)

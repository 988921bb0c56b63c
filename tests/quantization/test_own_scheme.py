"""Schemes of the user's own: found beside the target, kept whole in the network, obeyed by the check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mdcompiler
from mdcompiler.errors import TargetError
from mdcompiler.quantization.options import METHODS, Quantize
from mdcompiler.quantization.scheme import SCHEME_KEY, find_scheme, read_scheme, write_scheme
from mdcompiler.target import find_target
from tests.matrix.matrices import tiny

MINE = "{name: cpu, activation: uint8, weight: int8, per_channel: true, symmetric_weights: true, rounding: RULE}"


def test_a_users_scheme_is_noted_whole() -> None:
    """Its name may be that of a shipped one, and its file is not there any more."""
    metadata: dict[str, str] = {}
    assert read_scheme(metadata) is None
    write_scheme(metadata, find_scheme("cpu"))
    assert metadata == {SCHEME_KEY: "cpu"}
    mine = find_scheme("cpu").model_copy(update={"rounding": "fixed-point-single"})
    write_scheme(metadata, mine)
    assert read_scheme(metadata) == mine != find_scheme("cpu")


def test_a_malformed_note_is_refused() -> None:
    with pytest.raises(TargetError, match=r"in the metadata mdc\.scheme: activation: "):
        read_scheme({SCHEME_KEY: '{"name": "mine"}'})


def test_a_scheme_file_lies_beside_the_target_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE.replace("RULE", "fixed-point-single"))
    target = tmp_path / "target.yaml"
    for written in ("mine.yaml", str(tmp_path / "mine.yaml")):
        target.write_text(f"{{name: a, backend: 'null', scheme: {written}}}")
        found = find_target(str(target)).scheme
        assert found == str(tmp_path / "mine.yaml")
        assert find_scheme(found).rounding == "fixed-point-single"
    target.write_text("{name: a, backend: 'null', scheme: cpu}")
    assert find_target(str(target)).scheme == "cpu"


@pytest.mark.parametrize("name", ["mine", "cpu"])
def test_compiling_with_a_scheme_of_ones_own(name: str, tmp_path: Path) -> None:
    """Also where it takes the name of one that ships: the check that ends a compilation is by the file."""
    (tmp_path / "mine.yaml").write_text(
        MINE.replace("name: cpu", f"name: {name}").replace("RULE", "fixed-point-single")
    )
    target = find_target("cpu").model_copy(update={"scheme": str(tmp_path / "mine.yaml")})
    pictures = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), np.uint8)
    np.savez(tmp_path / "pictures.npz", image=pictures)
    options = Quantize(tmp_path / "pictures.npz", without=METHODS, ranges="min-max", compared=1, allow_degraded=True)
    out = tmp_path / "out"
    mdcompiler.compile(tiny(tmp_path), target, out, precision="int8", calibration=options, raw=True)
    (tmp_path / "mine.yaml").unlink()
    assert mdcompiler.load(out).run({"image": pictures[:1]}).keys() == {"box_encodings", "class_scores"}

"""Weights between torch and files, there and back; `.pth` files of ours, and of those who mean harm."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mdcompiler.errors import WeightsError
from mdcompiler.spec import load_spec, weight_shapes
from mdcompiler.weights import load_weights as read_weights
from mdcompiler.weights import weights_for
from mdcompiler.weights.bounded import MAX_FILE_BYTES
from mdcompiler.weights.torch_names import state_name, weight_name
from tests.conftest import Mdc

torch = pytest.importorskip("torch", reason="needs the extra `train`")
from mdcompiler.torch import build, export_weights, load_weights, save_weights  # noqa: E402

SMALL = Path(__file__).resolve().parents[2] / "examples" / "specs" / "small.yaml"


def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return set(first) == set(second) and all(np.array_equal(first[name], second[name]) for name in first)


def test_there_and_back() -> None:
    spec = load_spec(SMALL)
    weights = weights_for(spec, seed=9)
    module = build(spec, weights)
    assert equal(export_weights(module), weights)
    again = build(spec)
    load_weights(again, export_weights(module))
    assert equal(export_weights(again), weights)


def test_names_of_a_state_dict() -> None:
    spec = load_spec("mobiledet-dsp")
    keys = {key for key in build(spec).state_dict() if not key.endswith("num_batches_tracked")}
    names = list(weight_shapes(spec))
    assert {state_name(name) for name in names} == keys
    assert [weight_name(state_name(name)) for name in names] == names
    assert [weight_name(f"module._orig_mod.{name}") for name in names] == names


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_files(suffix: str, tmp_path: Path) -> None:
    spec = load_spec(SMALL)
    module = build(spec)
    save_weights(module, tmp_path / f"w.{suffix}")
    assert equal(weights_for(spec, tmp_path / f"w.{suffix}"), export_weights(module))
    save_weights(module, tmp_path / f"half.{suffix}", half=True)
    load_weights(module, tmp_path / f"half.{suffix}")
    assert equal(weights_for(spec, tmp_path / f"half.{suffix}"), export_weights(module))


def test_weights_that_do_not_fit_change_nothing() -> None:
    spec = load_spec(SMALL)
    module = build(spec)
    before = export_weights(module)
    other = {**weights_for(spec, seed=1), "C1/b0.conv/conv/weight": np.zeros((1, 3, 3, 3), np.float32)}
    del other["head/l0/box/pw/bias"]
    with pytest.raises(WeightsError, match=r"2 tensor\(s\) at fault"):
        load_weights(module, other)
    assert equal(export_weights(module), before)


@pytest.mark.parametrize("form", ["state_dict", "averaged", "our names", "half"])
def test_a_pth_goes_straight_into_weights(form: str, tmp_path: Path, mdc: Mdc) -> None:
    spec = load_spec(SMALL)
    module = build(spec, weights_for(spec, seed=4))
    state: dict[str, Any] = dict(module.state_dict())
    if form == "averaged":
        state = dict(torch.optim.swa_utils.AveragedModel(module).state_dict())
    elif form == "our names":
        state = {name: torch.from_numpy(array) for name, array in export_weights(module).items()}
    elif form == "half":
        module.load_state_dict(module.half().float().state_dict())
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    torch.save(state, tmp_path / "w.pth")
    save_weights(module, tmp_path / "w.safetensors")
    assert equal(read_weights(tmp_path / "w.pth"), export_weights(module))
    for name in ("w.pth", "w.safetensors"):
        code, _, error = mdc("lower", SMALL, "--weights", tmp_path / name, "-o", tmp_path / f"{name}.onnx")
        assert code == 0, error
    assert (tmp_path / "w.pth.onnx").read_bytes() == (tmp_path / "w.safetensors.onnx").read_bytes()


class Harm:
    """A pickle that would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def _zip(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)


def _bad(kind: str, path: Path, trace: Path) -> None:
    """Write a file at fault in the way `kind` says."""
    plain = {"a": torch.zeros(3)}
    if kind == "code":
        torch.save({"a": Harm(trace)}, path)
    elif kind == "bare pickle":
        path.write_bytes(pickle.dumps(Harm(trace)))
    elif kind == "before 1.6":
        torch.save(plain, path, _use_new_zipfile_serialization=False)
    elif kind == "unpacks too far":
        _zip(path, ("w/data.pkl", bytes(MAX_FILE_BYTES + 1)), method=zipfile.ZIP_DEFLATED)
    elif kind == "cut":
        torch.save(plain, path)
        path.write_bytes(path.read_bytes()[:-40])
    else:
        torch.save(OBJECTS[kind](), path)


OBJECTS: dict[str, Any] = {
    "endless view": lambda: {"a": torch.zeros(1).expand(1 << 30)},
    "integers": lambda: {"a": torch.zeros(3, dtype=torch.int64)},
    "list": lambda: [torch.zeros(3)],
    "checkpoint": lambda: {"epoch": 3, "state_dict": {"a": torch.zeros(3)}},
    "sparse": lambda: {"a": torch.eye(3).to_sparse()},
    "twice": lambda: {"a": torch.zeros(3), "module.a": torch.zeros(3)},
}
KINDS = [*OBJECTS, "code", "bare pickle", "before 1.6", "unpacks too far", "cut"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_state_dict_of_floats_is_refused(kind: str, tmp_path: Path) -> None:
    path, trace = tmp_path / "w.pth", tmp_path / "was-here"
    _bad(kind, path, trace)
    with pytest.raises(WeightsError, match=r"w\.pth: .*Save it with torch\.save\(module\.state_dict\(\), path\)\."):
        read_weights(path)
    assert not trace.exists()


def test_a_pth_of_another_network_lists_what_is_wrong(tmp_path: Path) -> None:
    torch.save(build(load_spec(SMALL)).state_dict(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"tensor\(s\) at fault"):
        weights_for(load_spec("mobiledet-cpu"), tmp_path / "w.pth")

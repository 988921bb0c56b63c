"""`.safetensors` and `.npz`: round trips, and everything that can be wrong with a file."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from mdcompiler.errors import OutputError, WeightsError
from mdcompiler.weights import Weights, load_weights, save_weights, weights_for
from mdcompiler.weights.bounded import MAX_FILE_BYTES, read_bounded
from tests.weights.damage import Edit, edits, flipped, survives, truncations
from tests.weights.small_spec import small_spec

SUFFIXES = [".safetensors", ".npz"]


@pytest.fixture
def weights() -> Weights:
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


SHAPES = {"C1/b0.conv/conv/weight": (4, 3, 3, 3), "C1/b0.conv/conv/bn/gamma": (4,), "head/l0/box/pw/bias": (1,)}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path: Path, weights: Weights, suffix: str) -> None:
    path = tmp_path / f"weights{suffix}"
    save_weights(path, weights)
    back = load_weights(path)
    assert back.keys() == weights.keys()
    for name, values in weights.items():
        np.testing.assert_array_equal(back[name], values)
        assert back[name].dtype == np.float32
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_weights_give_equal_bytes(tmp_path: Path, weights: Weights, suffix: str) -> None:
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    save_weights(first, weights)
    save_weights(second, dict(reversed(weights.items())))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_float16_becomes_float32(tmp_path: Path, weights: Weights, suffix: str) -> None:
    path = tmp_path / f"half{suffix}"
    save_weights(path, {name: values.astype(np.float16) for name, values in weights.items()})
    for name, values in load_weights(path).items():
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, weights[name].astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_strided_arrays_are_written_right(tmp_path: Path, suffix: str) -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4).transpose(2, 0, 1)
    save_weights(tmp_path / f"t{suffix}", {"t": values})
    np.testing.assert_array_equal(load_weights(tmp_path / f"t{suffix}")["t"], values)


def test_npz_of_numpy_is_read(tmp_path: Path, weights: Weights) -> None:
    """Written by others: compressed, and one tensor in column-major order."""
    fortran = {name: np.asfortranarray(values) for name, values in weights.items()}
    np.savez_compressed(tmp_path / "w.npz", **fortran)  # type: ignore[arg-type]
    for name, values in load_weights(tmp_path / "w.npz").items():
        np.testing.assert_array_equal(values, weights[name])


def test_what_npz_writes_numpy_reads(tmp_path: Path, weights: Weights) -> None:
    save_weights(tmp_path / "w.npz", weights)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as archive:
        assert set(archive.files) == set(weights)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_integers_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ints{suffix}"
    save_weights(path, {"a": np.zeros(3, np.int32), "b": np.zeros(2, np.float64), "c": np.zeros(1, np.float32)})
    with pytest.raises(WeightsError, match=r"a \(int32\), b \(float64\); float32 or float16"):
        load_weights(path)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(WeightsError, match="holds object"):
        load_weights(tmp_path / "evil.npz")


def test_bfloat16_safetensors_is_one_clear_error(tmp_path: Path) -> None:
    header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    (tmp_path / "b.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(WeightsError, match="float32 or float16"):
        load_weights(tmp_path / "b.safetensors")


def test_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(MAX_FILE_BYTES // (1 << 22) + 1):
            file.write(bytes(1 << 22))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(WeightsError, match="bytes unpacked; allowed are"):
        load_weights(path)


def test_a_header_that_claims_terabytes_allocates_nothing(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("a.npy", file.getvalue())
    tracemalloc.start()
    with pytest.raises(WeightsError, match="claims shape"):
        load_weights(tmp_path / "w.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_other_members_and_doubles_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("../../etc/passwd", "x")
    with pytest.raises(WeightsError, match=r"only \.npy members"):
        load_weights(tmp_path / "w.npz")


def test_missing_files_suffixes_and_folders(tmp_path: Path, weights: Weights) -> None:
    with pytest.raises(WeightsError, match="is no file"):
        load_weights(tmp_path / "absent.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(WeightsError, match="is no file"):
        load_weights(tmp_path / "folder.npz")
    with pytest.raises(WeightsError, match=r"ends in '\.pkl'; \.safetensors, \.npz, \.pth or \.pt can"):
        load_weights(tmp_path / "x.pkl")
    with pytest.raises(OutputError, match=r"ends in '\.pt'"):
        save_weights(tmp_path / "x.pt", weights)
    (tmp_path / "plain").write_bytes(b"")
    with pytest.raises(OutputError):
        save_weights(tmp_path / "plain" / "w.npz", weights)


def test_large_files_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(101))
    with pytest.raises(WeightsError, match="has 101 bytes; at most 100"):
        read_bounded(tmp_path / "x", 100)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_files(tmp_path: Path, weights: Weights, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    save_weights(path, weights)
    for part in truncations(path.read_bytes()):
        assert not survives(path, part, load_weights)


@pytest.mark.parametrize("suffix", SUFFIXES)
@given(flips=edits)
def test_damaged_files(tmp_path_factory: pytest.TempPathFactory, suffix: str, flips: list[Edit]) -> None:
    path = tmp_path_factory.mktemp("damaged") / f"w{suffix}"
    save_weights(path, {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()})
    survives(path, flipped(path.read_bytes(), flips), load_weights)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_weights_for_reads_and_checks(tmp_path: Path, suffix: str) -> None:
    spec = small_spec()
    weights = weights_for(spec, seed=5)
    path = tmp_path / f"w{suffix}"
    save_weights(path, weights)
    for name, values in weights_for(spec, path).items():
        np.testing.assert_array_equal(values, weights[name])
    weights["C1/b0.conv/conv/weight"] = np.zeros((1, 2, 3, 3), np.float32)
    save_weights(path, weights)
    with pytest.raises(WeightsError, match=r"C1/b0.conv/conv/weight: shape \[1, 2, 3, 3\]; expected \[8, 3, 3, 3\]"):
        weights_for(spec, path)


@pytest.mark.parametrize("name", ["", "/", "absent.ckpt-5", "weights.h5", "a\0b"])
def test_unknown_kinds_are_told_what_is_known(name: str) -> None:
    with pytest.raises(WeightsError, match=r"a MobileDet's \.tflite, or a TensorFlow 1 checkpoint"):
        weights_for(small_spec(), name)

"""A compiled library among processes and threads: the one asked for runs, no crash, no hang, nothing left behind."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import mdcompiler
from mdcompiler.artifact import Artifact
from mdcompiler.errors import ArtifactError, InputError
from mdcompiler.manifest import sealed_text

SIDE = 24


def network(path: Path, operator: str, side: int = SIDE) -> Path:
    """A convolution, so that threads have something to share, and `operator` behind it."""
    weights = np.random.default_rng(0).standard_normal((16, 8, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node(operator, ["c"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8, side, side])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 16, side, side])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def picture(side: int = SIDE) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).standard_normal((1, 8, side, side)).astype(np.float32)}


@pytest.fixture(scope="module")
def relu(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("relu")
    return mdcompiler.compile(network(folder / "relu.onnx", "Relu"), out=folder / "out", threads=1)


@pytest.fixture
def library(relu: Artifact) -> ctypes.CDLL:
    """The C interface of the compiled file."""
    return ctypes.CDLL(str(relu.directory / "model.so"))


@pytest.mark.parametrize("closed", [False, True])
def test_the_network_compiled_last_answers(tmp_path: Path, closed: bool) -> None:
    out = tmp_path / "out"
    mdcompiler.compile(network(tmp_path / "a.onnx", "Relu"), out=out, threads=1)
    first = mdcompiler.load(out)
    before = first.run(picture())["y"]
    if closed:
        first.close()
    mdcompiler.compile(network(tmp_path / "b.onnx", "Neg"), out=out, threads=1)
    second = mdcompiler.load(out).run(picture())["y"]
    assert second.min() < 0
    np.testing.assert_array_equal(np.maximum(-second, 0), before)
    mdcompiler.compile(network(tmp_path / "c.onnx", "Neg", 4), out=out, threads=1)
    assert mdcompiler.load(out).run(picture(4))["y"].shape == (1, 16, 4, 4)
    if not closed:
        np.testing.assert_array_equal(first.run(picture())["y"], before)


def test_a_manifest_of_another_network_is_refused(relu: Artifact, tmp_path: Path) -> None:
    data = relu.manifest.model_dump(mode="json")
    data["outputs"][0]["shape"] = [1, 16, 2 * SIDE, SIDE]
    for entry in data["files"]:
        (tmp_path / entry["name"]).write_bytes((relu.directory / entry["name"]).read_bytes())
    (tmp_path / "manifest.json").write_bytes(sealed_text(data))
    with pytest.raises(ArtifactError, match=r"tensor 1 of the library is y float32 \[1, 16, 24, 24\]"):
        mdcompiler.load(tmp_path)


def test_a_library_says_what_it_takes(library: ctypes.CDLL) -> None:
    library.model_tensor_name.restype = library.model_tensor_type.restype = ctypes.c_char_p
    library.model_tensor_bytes.restype = ctypes.c_size_t
    rows = [
        (library.model_tensor_name(i), library.model_tensor_type(i), library.model_tensor_bytes(i))
        for i in range(library.model_tensor_count())
    ]
    shapes = (8 * SIDE * SIDE * 4, 16 * SIDE * SIDE * 4)
    assert rows == [(b"x", b"float32 [1, 8, 24, 24]", shapes[0]), (b"y", b"float32 [1, 16, 24, 24]", shapes[1])]
    assert library.model_input_count() == 1
    for index in (-1, 2, 2**31 - 1):
        assert library.model_tensor_name(index) is None
        assert library.model_tensor_type(index) is None
        assert library.model_tensor_bytes(index) == 0


def test_no_function_minds_null(library: ctypes.CDLL) -> None:
    library.model_create.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.model_create(2))
    x, y = (np.zeros(16 * SIDE * SIDE, np.float32) for _ in range(2))
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in (x, y)]
    assert library.model_run(context, *pointers) == 0
    for arguments in ((None, *pointers), (context, None, pointers[1]), (context, pointers[0], None), (None,) * 3):
        assert library.model_run(*arguments) == -1
        assert library.model_profile(*arguments, None) == -1
    assert library.model_profile(context, *pointers, None) == 0
    library.model_kernel_name.restype = ctypes.c_char_p
    assert library.model_kernel_name(-1) is None
    library.model_destroy(None)
    library.model_destroy(context)
    for threads in (-(2**31), 0):
        again = ctypes.c_void_p(library.model_create(threads))
        assert library.model_run(again, *pointers) == 0
        library.model_destroy(again)


def test_the_child_of_a_fork_has_threads_of_its_own(relu: Artifact) -> None:
    with relu.load(threads=3) as detector:
        want = detector.run(picture())["y"]
        stop = threading.Event()

        def work() -> None:
            while not stop.is_set():
                detector.run(picture())

        busy = threading.Thread(target=work)
        busy.start()
        try:
            for _ in range(10):
                assert forked(lambda: all(np.array_equal(detector.run(picture())["y"], want) for _ in range(3)))
        finally:
            stop.set()
            busy.join()
        assert forked(lambda: closed(detector))
        np.testing.assert_array_equal(detector.run(picture())["y"], want)


def forked(work: Callable[[], bool]) -> bool:
    """Whether `work` is true in a child that ends within a minute."""
    pid = os.fork()
    if not pid:
        signal.alarm(60)
        os._exit(0 if work() else 1)
    return os.waitpid(pid, 0)[1] == 0


def closed(detector: mdcompiler.Detector) -> bool:
    detector.close()
    return True


def thread_count() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def test_detectors_that_nobody_closes_leave_no_threads(relu: Artifact) -> None:
    gc.collect()
    before = thread_count()
    detectors = [relu.load(threads=3) for _ in range(3)]
    for detector in detectors:
        detector.run(picture())
    assert thread_count() == before + 6
    del detector, detectors
    gc.collect()
    assert thread_count() == before


def test_closing_twice_and_using_after(relu: Artifact) -> None:
    detector = relu.load(threads=2)
    detector.run(picture())
    detector.close()
    detector.close()
    with pytest.raises(InputError, match="Load the artifact again"):
        detector.run(picture())


def test_closing_while_others_run(relu: Artifact) -> None:
    for _ in range(5):
        detector = relu.load(threads=2)
        refused: list[Exception] = []

        def work(opened: mdcompiler.Detector = detector, told: list[Exception] = refused) -> None:
            try:
                for _ in range(10_000):
                    opened.run(picture())
            except InputError as error:
                told.append(error)

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        detector.run(picture())
        detector.close()
        for worker in workers:
            worker.join()
        assert len(refused) == 4


@pytest.mark.parametrize("threads", [0, -1, 1025, 2**40])
def test_threads_out_of_range(relu: Artifact, threads: int) -> None:
    with pytest.raises(InputError, match="1 to 1024"):
        relu.load(threads=threads)


def test_an_interpreter_ends_quietly_with_live_detectors(relu: Artifact) -> None:
    script = f"""
import threading, time, numpy, mdcompiler
detectors = [mdcompiler.load({str(relu.directory)!r}, threads=2) for _ in range(3)]
x = numpy.zeros((1, 8, {SIDE}, {SIDE}), numpy.float32)
def work():
    while True:
        detectors[0].run({{"x": x}})
threading.Thread(target=work, daemon=True).start()
for detector in detectors:
    detector.run({{"x": x}})
print("done")
"""
    command = [sys.executable, "-X", "dev", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")

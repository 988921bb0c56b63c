"""The pinned apache-tvm-ffi does what newer ones crash in: tensorising a loop and saving a module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# In a process of its own, since the fault this guards against is a segmentation fault.
PROGRAM = """
import tvm
from tvm import te
from tvm.script import tirx as T

@T.prim_func(s_tir=True)
def description(a: T.Buffer((16,), "float32"), c: T.Buffer((16,), "float32")) -> None:
    with T.sblock("root"):
        T.reads(a[0:16])
        T.writes(c[0:16])
        for i in range(16):
            with T.sblock("step"):
                v = T.axis.spatial(16, i)
                c[v] = a[v] + T.float32(1)

@T.prim_func(s_tir=True)
def implementation(a: T.Buffer((16,), "float32"), c: T.Buffer((16,), "float32")) -> None:
    with T.sblock("root"):
        T.reads(a[0:16])
        T.writes(c[0:16])
        c[T.ramp(0, 1, 16)] = a[T.ramp(0, 1, 16)] + T.broadcast(T.float32(1), 16)

tvm.s_tir.TensorIntrin.register("add_one_16", description, implementation)
a = te.placeholder((4, 16), "float32", "a")
c = te.compute(a.shape, lambda i, j: a[i, j] + 1.0, "c")
schedule = tvm.s_tir.Schedule(te.create_prim_func([a, c]))
schedule.tensorize(schedule.get_loops(schedule.get_sblock("c"))[1], "add_one_16")
again = tvm.ir.load_json(tvm.ir.save_json(schedule.mod))
tvm.ir.assert_structural_equal(again, schedule.mod)
assert "T.Broadcast" in str(again), again
print("tensorised")
"""


def test_tensorize_and_save_json_survive(tmp_path: Path) -> None:
    # TVMScript reads the source of what it decorates, so that `-c` would not do.
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run([sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ended with {done.returncode}: {done.stderr[-2000:]}"
    assert done.stdout == "tensorised\n"

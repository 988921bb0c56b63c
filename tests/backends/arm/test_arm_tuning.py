"""Tuning for Arm where no chip is: instructions are counted, the same on every run, and records say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mdcompiler
from mdcompiler.backends.arm.instruction_bench import InstructionBench
from mdcompiler.backends.arm.instructions import count_instructions
from mdcompiler.backends.arm.tuner import ArmTuner
from mdcompiler.backends.clib.tune_kernels import job
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.convolution import Convolution
from mdcompiler.backends.kernels.templates import templates_for
from mdcompiler.conformance import MODELS
from mdcompiler.errors import MissingToolError
from mdcompiler.target import find_target
from mdcompiler.tuning.record_file import good_records
from mdcompiler.tuning.records import Records
from mdcompiler.tuning.tunable import Device, Job, unit_of
from tests.backends.arm.emulated import needs_emulator, saved
from tests.backends.convolution_problem import same
from tests.conftest import Mdc

TARGET = find_target("cortex-a76")


def pointwise_job() -> Job:
    work = Convolution(same((9, 9), 1, 1), 16, 16, TARGET.lanes, by_element=True)
    return job(Chooser(TARGET, Records()), templates_for(work)[0], work, ("kernel",), 6)


@needs_emulator
def test_counts_are_the_same_twice_and_tell_schedules_apart() -> None:
    wanted = pointwise_job()
    schedules = [*wanted.candidates, wanted.current]
    with InstructionBench(TARGET) as bench:
        first, again = (bench.measure([(wanted, schedules)])[0] for _ in range(2))
    assert first == again
    counts = {str(item.schedule): item.min_ns for item in first}
    assert len(set(counts.values())) > 1, "a tile of one pixel takes more than one of eight"
    multiply_adds = 81 * 16 * 16 / TARGET.lanes
    assert all(count is not None and multiply_adds < count < 20 * multiply_adds for count in counts.values())


@needs_emulator
def test_records_say_instructions_and_a_compilation_takes_no_more(
    mdc: Mdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file = saved(MODELS["inverted-bottleneck"](), tmp_path / "model.onnx"), tmp_path / "records.jsonl"
    monkeypatch.setenv("MDC_RECORDS", "off")
    before = sum(row.all for row in count_instructions(mdcompiler.compile(model, TARGET, tmp_path / "before")))
    code, out, err = mdc("tune", model, "--target", TARGET.name, "--trials", 6, "--records", file, "--json")
    assert code == 0, err
    assert {"before_instructions", "after_instructions"} <= set(json.loads(out)["blocks"][0])
    records = good_records(file)
    assert records
    assert {record.unit for record in records} == {"instructions"}
    monkeypatch.setenv("MDC_RECORDS", str(file))
    after = sum(row.all for row in count_instructions(mdcompiler.compile(model, TARGET, tmp_path / "after")))
    assert after <= before


def test_what_is_measured_depends_on_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert unit_of(ArmTuner(), TARGET) == "instructions"
    assert unit_of(ArmTuner(), TARGET, Device("127.0.0.1", 9190, "pi")) == "ns"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("mdcompiler.target.host_flags", lambda: frozenset(TARGET.cpu_flags))
    assert unit_of(ArmTuner(), TARGET) == "ns"


def test_without_an_emulator_one_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("mdcompiler.backends.arm.machine.shutil.which", lambda _: None)
    with pytest.raises(MissingToolError, match="apt-get install qemu-user"):
        ArmTuner().bench(TARGET, None)

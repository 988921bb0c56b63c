"""Strips against whole pictures, measured on a small network; what was recorded is what is chosen."""

from __future__ import annotations

import pytest

from mdcompiler.backends.clib.choose_strips import TEMPLATE, VERSION, strip_chooser, workload_of
from mdcompiler.backends.clib.strip_chain import chains
from mdcompiler.backends.clib.tune_strips import tune_strips
from mdcompiler.backends.kernels.choose_schedule import Chooser
from mdcompiler.backends.kernels.templates import tools
from mdcompiler.progress import silent
from mdcompiler.target import find_target
from mdcompiler.tuning.machine import Machine
from mdcompiler.tuning.record import Record
from mdcompiler.tuning.records import Records
from tests.backends.programs import float_module, program_of
from tests.weights.small_spec import small_spec


def test_every_chain_gets_a_record_once() -> None:
    target = find_target("cpu")
    module = float_module(small_spec(), target)
    records = tune_strips(module, "small", Records(), silent, runs=2)
    wanted = chains(program_of(small_spec(), target))
    assert wanted
    for chain in wanted:
        record = records[chain.name]
        assert record.workload == workload_of(chain)
        rows = [item.schedule["rows"] for item in record.measured]
        assert rows[0] == 0, "the whole picture is measured too"
        assert record.schedule["rows"] in rows
    assert tune_strips(module, "small", Records(records.values()), silent, runs=2) == {}


@pytest.mark.parametrize(("recorded", "chosen"), [(1, 1), (0, 0), (10_000, 0), (-1, 0), ("all", 0)])
def test_the_record_decides_if_it_makes_sense(recorded: int | str, chosen: int) -> None:
    target = find_target("cpu")
    chain = chains(program_of(small_spec(), target))[0]
    record = Record(
        template=TEMPLATE,
        version=VERSION,
        tools=tools(),
        machine=Machine.of(target),
        workload=workload_of(chain),
        schedule={"rows": recorded},
        min_ns=1.0,
        median_ns=1.0,
        trials=1,
    )
    assert strip_chooser(Chooser(target, Records([record])))(chain) == chosen

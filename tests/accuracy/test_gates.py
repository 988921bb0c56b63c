"""Gates: a healthy network passes, a dead one is refused by the name of the block that is dead."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mdcompiler.accuracy import AccuracyError, Limits, compare, faults, refuse, sensitivities
from mdcompiler.accuracy.judge import Judge
from mdcompiler.accuracy.metrics import Noise
from mdcompiler.accuracy.sensitivity import quantizable_blocks
from mdcompiler.calibration import ListedSamples, Ranges, calibrate
from mdcompiler.kernel import Kernel
from mdcompiler.module import Module
from mdcompiler.passes.assign_precision import AssignPrecision, precisions, quantizer
from mdcompiler.passes.quantize_calibrated import ACCURACY, QuantizeCalibrated
from mdcompiler.quantization.scheme import find_scheme
from tests.accuracy.networks import small_module, small_samples

CPU = find_scheme("cpu")


@pytest.fixture(scope="module")
def module() -> Module:
    return small_module()


@pytest.fixture(scope="module")
def samples(module: Module) -> ListedSamples:
    return small_samples(module)


@pytest.fixture(scope="module")
def ranges(module: Module, samples: ListedSamples) -> Ranges:
    return calibrate(module, samples, "min-max")


def test_a_healthy_quantization_passes(module: Module, samples: ListedSamples, ranges: Ranges) -> None:
    accuracy = compare(module, quantizer(ranges, CPU)(module, {}), samples)
    assert faults(accuracy) == []
    assert accuracy.ends_db["box_encodings"] > 20
    assert {row.block for row in accuracy.blocks} >= {"C3/b1.ibn", "head/l0/class"}
    json.dumps(accuracy.as_dict())


def test_one_scale_for_the_whole_head_is_refused_by_the_level_that_dies(
    module: Module, samples: ListedSamples, ranges: Ranges
) -> None:
    reach = 40 * max(abs(edge) for name, pair in ranges.items() if "/class/" in name for edge in pair)
    dead = {
        name: (-reach, reach) if name.startswith("head/l") and "/class/" in name and "/dw/" not in name else pair
        for name, pair in ranges.items()
    }
    accuracy = compare(module, quantizer(dead, CPU)(module, {}), samples)
    (worst, *_) = faults(accuracy)
    assert worst.block.startswith("head/l")
    assert worst.block.endswith("/class")
    with pytest.raises(AccuracyError, match=rf"{worst.block}: steps of the scale.*keep a scale for every level"):
        refuse([worst])


@pytest.mark.parametrize(("factor", "measure"), [(0.02, "share of values beyond"), (400.0, "signal-to-noise")])
def test_one_wrecked_scale_is_refused_by_its_block(
    module: Module, samples: ListedSamples, ranges: Ranges, factor: float, measure: str
) -> None:
    victims = [name for name in ranges if name.startswith("C3/b1.ibn/")]
    wrecked = {
        name: (low * factor, high * factor) if name in victims else (low, high) for name, (low, high) in ranges.items()
    }
    found = faults(compare(module, quantizer(wrecked, CPU)(module, {}), samples))
    assert found[0].block == "C3/b1.ibn", list(map(str, found))
    assert found[0].measure.startswith(measure)


def test_the_wrecked_block_heads_the_sensitivity_table_and_16_bits_mend_it(
    module: Module, samples: ListedSamples, ranges: Ranges
) -> None:
    wrecked = {n: (a * 400, b * 400) if n.startswith("C3/b1.ibn/") else (a, b) for n, (a, b) in ranges.items()}
    quantize = quantizer(wrecked, CPU)
    few = ListedSamples(list(samples)[:1])
    rows = sensitivities(module, quantize, few)
    assert rows[0].block == "C3/b1.ibn"
    assert {row.block for row in rows} == set(quantizable_blocks(module))
    copy = Module.from_onnx(module.to_onnx(), module.target)
    assign = AssignPrecision(wrecked, Judge(module, few, Limits()), CPU)
    assert assign.run(copy) > 0
    assert precisions(copy) == {"C3/b1.ibn": "int16"}
    assert assign.run(copy) == 0, "a second run makes the same choice"


def test_without_wide_kernels_the_block_stays_float_and_others_do_not(
    module: Module, samples: ListedSamples, ranges: Ranges
) -> None:
    def no_wide_kernels(kernel: Kernel) -> str | None:
        wide = any(tensor.dtype == np.uint16 for tensor in kernel.outputs)
        return "there is no kernel for 16-bit integers" if wide else None

    wrecked = {n: (a * 400, b * 400) if n.startswith("C3/b1.ibn/") else (a, b) for n, (a, b) in ranges.items()}
    judge = Judge(module, ListedSamples(list(samples)[:1]), Limits())
    choice = AssignPrecision(wrecked, judge, CPU, no_wide_kernels).choose(module)
    assert choice.precision["C3/b1.ibn"] == "float"
    assert set(choice.precision) <= {"C3/b1.ibn", "C3/b2.ibn"}, "the next block reads with the wrecked scale, too"
    assert choice.judgement.faults == ()
    assert 0 < choice.share < 0.5
    poor = AssignPrecision(wrecked, judge, CPU, no_wide_kernels, budget=choice.share / 2).choose(module)
    assert poor.judgement.faults, "the budget does not allow that block"
    assert "C3/b1.ibn" not in poor.precision


def test_the_pass_writes_what_it_measured_and_refuses_the_dead(module: Module, samples: ListedSamples) -> None:
    copy = Module.from_onnx(module.to_onnx(), module.target)
    assert QuantizeCalibrated(samples, "min-max", scheme=CPU).run(copy) > 0
    assert json.loads(copy.metadata[ACCURACY])["degraded"] == []
    assert any(node.op == "QuantizeLinear" for node in copy.graph.nodes)


def test_noise_is_in_decibels() -> None:
    noise = Noise()
    noise.update(np.full(100, 10.0), np.full(100, 11.0))
    assert noise.decibels == pytest.approx(20.0)

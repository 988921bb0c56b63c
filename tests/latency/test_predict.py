"""Predictions of specs: what they add up to, and what is said when parts do not fit."""

from __future__ import annotations

import pytest

from mdcompiler.errors import TargetError
from mdcompiler.latency import find_chip, predict, shipped_chips
from mdcompiler.spec import SearchSpace, count, load_spec


@pytest.mark.parametrize("chip", shipped_chips())
def test_every_chip_predicts_every_block(chip: str) -> None:
    spec = load_spec("mobiledet-dsp")
    prediction = predict(spec, chip)
    assert [block.path for block in prediction.blocks] == [block.path for block in count(spec).blocks]
    assert all(block.latency_us > block.launch_us > 0 for block in prediction.blocks)
    low, high = prediction.range_ms
    assert low < prediction.total_ms < high


def test_the_published_point_is_met() -> None:
    assert predict(load_spec("mobiledet-dsp"), "pixel4-dsp").total_ms == pytest.approx(12.3, rel=0.05)


def test_regular_convolutions_win_on_the_array_and_lose_on_the_core() -> None:
    """Why MobileDet was searched for: MobileDet-EdgeTPU has 3.5 times the multiply-adds of MobileDet-CPU."""
    cpu, array = load_spec("mobiledet-cpu"), load_spec("mobiledet-edgetpu")
    assert predict(array, "pixel4-edgetpu").total_ms < 1.5 * predict(cpu, "pixel4-edgetpu").total_ms
    assert predict(array, "pixel1-cpu").total_ms > 2 * predict(cpu, "pixel1-cpu").total_ms


def test_a_larger_picture_takes_longer() -> None:
    spec = load_spec("mobiledet-gpu")
    for chip in shipped_chips():
        assert predict(spec.with_(height=640, width_px=640), chip).total_ms > predict(spec, chip).total_ms


def test_weights_beyond_the_chip_are_streamed() -> None:
    fits, spills = (predict(load_spec(name), "coral-edgetpu") for name in ("mobiledet-edgetpu", "mobiledet-gpu"))
    assert fits.stream_us == 0
    assert spills.stream_us > 5000
    assert any("do not fit" in text for text in spills.uncertain)


def test_uncalibrated_precision_says_so() -> None:
    prediction = predict(SearchSpace.small().sample(0), "jetson-nano", "fp32")
    assert prediction.column == ""
    assert "no published latency of this chip in this precision" in prediction.uncertain[0]
    assert prediction.spread > 0.5


def test_a_changed_chip_is_not_calibrated_by_its_original() -> None:
    nano = find_chip("jetson-nano")
    slower = nano.model_copy(update={"memory_gb_s": nano.launch_us})
    assert predict(load_spec("mobiledet-cpu"), slower).column == ""


def test_a_column_is_chosen() -> None:
    spec = load_spec("mobiledet-edgetpu")
    usb, board = (predict(spec, "coral-edgetpu", "", name) for name in ("coral-usb", "fixstars-coral-dev-board"))
    assert (usb.column, board.column) == ("coral-usb", "fixstars-coral-dev-board")
    assert board.total_ms > 3 * usb.total_ms


@pytest.mark.parametrize(
    ("chip", "precision", "column", "message"),
    [
        ("coral-edgetpu", "fp32", "", "on coral-edgetpu in fp32: its file has int8"),
        ("coral-edgetpu", "", "none", "published latencies 'none' are unknown; there are pixel4-edgetpu,"),
        ("coral-edgetpu", "", "pixel4-edgetpu", "the latencies pixel4-edgetpu are of pixel4-edgetpu in int8"),
    ],
)
def test_what_does_not_fit(chip: str, precision: str, column: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        predict(load_spec("mobiledet-cpu"), chip, precision, column)

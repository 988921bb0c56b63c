"""Chip files: those that ship, and what is said about bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mdcompiler.errors import TargetError
from mdcompiler.latency.chip import chip_of_target, find_chip, shipped_chips
from mdcompiler.latency.published import published_columns
from mdcompiler.target import shipped_targets


def test_every_chip_is_named_as_its_file_and_by_known_targets() -> None:
    assert all(find_chip(name).name == name for name in shipped_chips())
    named = [target for chip in shipped_chips().values() for target in chip.targets]
    assert set(named) <= set(shipped_targets())
    assert len(named) == len(set(named))


def test_every_column_is_of_a_chip_and_precision_that_ship() -> None:
    for column in published_columns().values():
        chip = shipped_chips()[column.chip]
        assert chip.peaks(column.precision)
        assert column.cores <= chip.cores


def test_chip_of_a_target() -> None:
    chip = chip_of_target("edgetpu")
    assert chip is not None
    assert chip.name == "coral-edgetpu"
    assert chip_of_target("x86-64-v3") is None


def test_chip_from_a_file(tmp_path: Path) -> None:
    data = find_chip("jetson-nano").model_dump(mode="json", exclude_none=True)
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(data | {"name": "mine"}))
    assert find_chip(str(file)).name == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"launch_us": {"value": 0, "kind": "assumed", "source": "x"}}, r"launch_us\.value: Input should be greater"),
        ({"launch_us": {"value": 1, "kind": "guess", "source": "x"}}, r"launch_us\.kind"),
        ({"launch_us": {"value": 1, "kind": "assumed"}}, r"launch_us\.source: Field required"),
        ({"memory_gb_s": {"value": float("inf"), "kind": "assumed", "source": "x"}}, r"memory_gb_s\.value"),
        ({"precisions": {}}, "precisions: Dictionary should have at least 1 item"),
        ({"speed": 1}, "speed: Extra inputs are not permitted"),
    ],
)
def test_bad_fields(tmp_path: Path, change: dict[str, object], message: str) -> None:
    data = find_chip("jetson-nano").model_dump(mode="json", exclude_none=True)
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(data | change))
    with pytest.raises(TargetError, match=message):
        find_chip(str(file))


def test_unknown_names() -> None:
    with pytest.raises(TargetError, match="chip 'abacus' is unknown; there are coral-edgetpu,"):
        find_chip("abacus")
    with pytest.raises(TargetError, match=r"on coral-edgetpu in fp16: its file has int8. Choose one"):
        find_chip("coral-edgetpu").peaks("fp16")

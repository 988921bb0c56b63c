"""Tiles found by counting packets: deterministic, never worse than what they replace, and shipped for mobiledet-dsp."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from mdcompiler.backends.hexagon import tune
from mdcompiler.backends.hexagon.choose import RECORDS_FILE, candidates, choose_tile, estimate, key_of
from mdcompiler.backends.hexagon.convolution import HvxConvolution, HvxTile, Window
from mdcompiler.backends.hexagon.workloads import convolutions_of
from mdcompiler.spec import load_spec
from mdcompiler.target import Target, find_target

POINTWISE = HvxConvolution(Window(2 * 12 * 32, 2, 12 * 32, (1, 1), 12 * 32, 32, 4, 4, 32, 12 * 32), 2, (1, 12))
TRIED = 3


def test_the_best_candidate_is_kept(hexagon: Target) -> None:
    record = tune.tune_tile(POINTWISE, hexagon, TRIED)
    assert record == tune.tune_tile(POINTWISE, hexagon, TRIED), "counts are the same on every run"
    assert record.tried == TRIED
    worst = max(candidates(POINTWISE), key=lambda tile: estimate(POINTWISE, tile))
    assert record.packets < estimate(POINTWISE, worst)


def test_known_records_are_not_counted_again(
    hexagon: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "records"
    counted: list[HvxConvolution] = []

    def count(work: HvxConvolution, target: Target) -> tune.Record:
        counted.append(work)
        return tune.Record(work, HvxTile(4, 1), 100, 1)

    monkeypatch.setattr(tune, "tune_tile", count)
    tune.tune_all([POINTWISE, POINTWISE], hexagon, path)
    tune.tune_all([POINTWISE], hexagon, path)
    assert counted == [POINTWISE]
    assert json.loads(path.read_text())["tile"] == [4, 1, 1]
    assert key_of(POINTWISE) in capsys.readouterr().out


def test_the_paper_network_has_records_for_all_its_convolutions() -> None:
    """A change of the workloads' fields orphans the records; then tune again."""
    lines = (files("mdcompiler.backends.hexagon") / RECORDS_FILE).read_text().splitlines()
    recorded = {item["key"]: HvxTile(*item["tile"]) for item in map(json.loads, lines)}
    works = convolutions_of(load_spec("mobiledet-dsp"), find_target("hexagon-v66"))
    assert len(works) > 40
    for work in works:
        assert choose_tile(work) == recorded[key_of(work)]
        assert work.out_blocks % choose_tile(work).groups == 0

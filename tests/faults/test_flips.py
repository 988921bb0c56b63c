"""Edited artifacts are refused; see `flips.py`, whose command tries any number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.faults import flips


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flips.sandbox(tmp_path_factory.mktemp("flips"))


def test_edits_are_refused(artifact: Path) -> None:
    tally = flips.try_edits(artifact, 150)
    assert tally.faults == []


def test_an_accepted_edit_would_be_noticed(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flips, "_answer", lambda folder: {"y": np.zeros(1)})
    assert len(flips.try_edits(artifact, 3).faults) == 2

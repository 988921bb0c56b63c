"""Calibration: samples in, the range of every tensor out."""

from __future__ import annotations

from mdcompiler.calibration.calibrate import DEFAULT_METHOD, calibrate
from mdcompiler.calibration.observers import METHODS
from mdcompiler.calibration.probe import Probe
from mdcompiler.calibration.ranges import Ranges, load_ranges, save_ranges
from mdcompiler.calibration.refine_ranges import Refined, refine_ranges
from mdcompiler.calibration.samples import ArrayRows, ListedSamples, PictureFiles, Samples, open_samples

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "ArrayRows",
    "ListedSamples",
    "PictureFiles",
    "Probe",
    "Ranges",
    "Refined",
    "Samples",
    "calibrate",
    "load_ranges",
    "open_samples",
    "refine_ranges",
    "save_ranges",
]

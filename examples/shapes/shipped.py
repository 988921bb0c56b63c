"""The detectors that ship in this folder."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
SHIPPED = ("mobiledet-cpu-shapes", "mobiledet-edgetpu-shapes")


def spec_source(name: str) -> str:
    """What `load_spec` takes: the file of a spec in this folder by its name, anything else as it is."""
    here = HERE / f"{name}.yaml"
    return str(here) if here.exists() else name


def weights_file(name: str) -> Path:
    """The trained weights of a spec in this folder."""
    return HERE / f"{name}.safetensors"

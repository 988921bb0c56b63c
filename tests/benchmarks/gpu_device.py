"""The GPU as `nvidia-smi` tells it: its name, driver, clocks and memory. Absent on Jetson, where the table says so."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

_SECONDS = 30
_FIELDS = ("name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.draw", "temperature.gpu")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class DeviceState:
    """One reading of `nvidia-smi`; every field is text as it prints it, with its unit, "unknown" without the tool."""

    name: str = UNKNOWN
    driver: str = UNKNOWN
    clock: str = UNKNOWN
    memory_clock: str = UNKNOWN
    most_clock: str = UNKNOWN
    power: str = UNKNOWN
    temperature: str = UNKNOWN

    def line(self) -> str:
        """For a report."""
        if self.name == UNKNOWN:
            return f"{UNKNOWN}: there is no nvidia-smi here"
        return (
            f"{self.name}, driver {self.driver}, {self.clock} of {self.most_clock}, memory at {self.memory_clock}, "
            f"{self.power}, {self.temperature} °C"
        )


def read_device() -> DeviceState:
    """The first GPU now."""
    text = _ask("--query-gpu=" + ",".join(_FIELDS), "--id=0")
    return parse_device(text) if text else DeviceState()


def parse_device(text: str) -> DeviceState:
    """A line of `nvidia-smi --query-gpu=… --format=csv,noheader`."""
    values = [value.strip() for value in text.strip().splitlines()[0].split(",")]
    return DeviceState(*values) if len(values) == len(_FIELDS) else DeviceState()


def memory_mib(process: int) -> float | None:
    """What a process has allocated on the GPU; None where nothing tells."""
    return parse_memory(_ask("--query-compute-apps=pid,used_memory"), process)


def parse_memory(text: str, process: int) -> float | None:
    """The line of a process in `pid, N MiB` lines."""
    for line in text.splitlines():
        number, _, used = line.partition(",")
        if number.strip() == str(process) and used.strip().endswith("MiB"):
            return float(used.strip().removesuffix("MiB"))
    return None


def _ask(*arguments: str) -> str:
    """What the tool prints; "" without it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    command = [tool, *arguments, "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    return done.stdout if done.returncode == 0 else ""

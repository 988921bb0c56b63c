"""What is asked of a matrix: networks, targets, and how they are compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mdcompiler.errors import UnsupportedError
from mdcompiler.read_network import Request
from mdcompiler.target import Target, find_target

AUTO = "auto"
PRECISIONS = (AUTO, "fp32", "int8")


@dataclass(frozen=True)
class MatrixOptions:
    """networks: specs or ONNX files. targets: names, or target files, `cpu:int8` with a precision of its own.

    precision: of the other targets; auto is fp32 where the target computes in floats, else int8. calibration: pictures
    for int8; None draws noise. weights, seed: of specs. raw: end with box encodings and class scores. width,
    height_px, width_px: of every spec. blocks: compare the tensors between blocks, too. allow_degraded: compile int8
    networks that lost too much; those calibrated on noise always are. threads: processes that compile at once.
    """

    networks: tuple[str, ...]
    targets: tuple[str, ...]
    precision: str = AUTO
    calibration: Path | None = None
    weights: Path | None = None
    seed: int = 0
    raw: bool = False
    width: float | None = None
    height_px: int | None = None
    width_px: int | None = None
    blocks: bool = True
    allow_degraded: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UnsupportedError(
                f"making a matrix in precision {self.precision!r}: there is {', '.join(PRECISIONS)}. Choose one."
            )
        if not self.networks or not self.targets:
            raise UnsupportedError("making a matrix: give one network and one target at least, `--targets cpu,arm64`.")

    def request(self, network: str) -> Request:
        """What is read for `network`."""
        if network.lower().endswith(".onnx"):
            return Request(network)
        return Request(network, self.weights, self.seed, self.raw, self.width, self.height_px, self.width_px)

    def target_of(self, asked: str) -> tuple[Target, str]:
        """The target and the precision, fp32 or int8, that `asked` means.

        Raises TargetError for an unknown target, UnsupportedError for fp32 where there are no floats.
        """
        name, colon, own = asked.rpartition(":")
        if colon and own in PRECISIONS:
            return self._checked(find_target(name), own)
        return self._checked(find_target(asked), self.precision)

    @staticmethod
    def _checked(target: Target, precision: str) -> tuple[Target, str]:
        floats = "float32" in target.dtypes
        if precision == AUTO:
            return target, "fp32" if floats else "int8"
        if precision == "fp32" and not floats:
            raise UnsupportedError(
                f"compiling for {target.name} in fp32: it computes in {', '.join(target.dtypes)}. "
                "Choose --precision int8 or auto."
            )
        return target, precision

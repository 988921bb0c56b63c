"""The check that travels with an artifact: what the arbiter says to a few inputs, and what each output may differ by.

The compiler runs it before an artifact takes its place, `mdc verify` on any machine. The file holds, for every input
`n`, the expected outputs as `n/<output>`, long ones thinned out evenly; as `allowed/<output>` limit, range and error
of unoptimised float32 (see `mdcompiler.tolerance.Allowance`); as `undecided<n>/<output>` which values say nothing (see
`mdcompiler.conditioning`). Inputs are drawn again from their seed within
`drawn/<input>`; those that a user gave are stored as `given/<input>`. Of a detector it holds the raw head, what decodes
it, and which detections are decided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.decided import Outcomes, outcomes
from mdcompiler.errors import ArtifactError
from mdcompiler.foreign import refusing
from mdcompiler.head_check import RAW_BOXES, RAW_SCORES, HeadFacts
from mdcompiler.manifest import TensorSpec
from mdcompiler.postprocess_options import ATTRIBUTES, PostprocessOptions
from mdcompiler.sampling import seeded_inputs
from mdcompiler.tolerance import Allowance, span_of

if TYPE_CHECKING:
    from mdcompiler.artifact import Artifact

CHECK_FILE = "check.safetensors"
_SEEDS = (0, 1, 2)
_LEAST_INPUTS = 2
_MOST_WORK = 600_000_000
"""Multiply-adds after which no further input is drawn: in float64 a second, beside a compilation of twenty."""
_MOST_ROWS = 1 << 20
_MAX_VALUES = 1 << 13
"""Of one output for one input."""
MOST_CHECK_BYTES = 64 << 20
"""Of a check file that is read."""
Arrays = Mapping[str, NDArray[Any]]
Run = Callable[[dict[str, NDArray[Any]]], Arrays]
"""From inputs to outputs and, where a detector gives it away, its raw head."""


@dataclass(frozen=True)
class Answer:
    """values: every output, and the raw head of a detector. float32: what unoptimised float32 errs in each float
    output; empty where that is unknown. work: multiply-adds that it took."""

    values: dict[str, NDArray[Any]]
    float32: dict[str, float] = field(default_factory=dict)
    work: int = 0


Arbiter = Callable[[Arrays], Answer]


@dataclass(frozen=True)
class Check:
    """inputs: one or several; expected: the values for each, thinned out. allowed: of float outputs.

    given: whether a user gave the input. head: what decodes the raw head of a detector; decided: for each input.
    undecided: for each input, where an output has values that float32 does not settle.
    """

    inputs: list[dict[str, NDArray[Any]]]
    expected: list[dict[str, NDArray[Any]]]
    allowed: dict[str, Allowance]
    drawn: dict[str, tuple[float, float]] = field(default_factory=dict)
    given: bool = False
    head: HeadFacts | None = None
    decided: list[Outcomes] = field(default_factory=list)
    undecided: list[dict[str, NDArray[Any]]] = field(default_factory=list)

    def faults(self, run: Run) -> list[str]:
        """What is wrong with what `run` makes of every input, one sentence each; [] when nothing is."""
        found: list[str] = []
        for index, inputs in enumerate(self.inputs):
            found += [fault for fault in self.faults_of(index, run(inputs)) if fault not in found]
        return found

    def faults_of(self, index: int, got: Arrays) -> list[str]:
        """What is wrong with the outputs `got` for input number `index`."""
        if self.head is None:
            return self._differences(got, index)
        outputs = [name for name in got if name not in (RAW_BOXES, RAW_SCORES)]
        if set(outputs) != set(self.head.outputs):
            return [f"outputs are {', '.join(outputs)} instead of {', '.join(self.head.outputs)}"]
        if RAW_BOXES in got:
            raw = {name: got[name] for name in (RAW_BOXES, RAW_SCORES)}
            own = self.head.own_fault(got)
            return self._differences(raw, index) + ([own] if own else [])
        if not self.decided:
            return ["the raw head of the detector cannot be read, and the check holds nothing else to compare with"]
        fault = self.head.undecided_fault(got, self.decided[index])
        return [fault] if fault else []

    def _differences(self, got: Arrays, index: int) -> list[str]:
        expected = self.expected[index]
        undecided = self.undecided[index] if self.undecided else {}
        if set(got) != set(expected):
            return [f"outputs are {', '.join(got)} instead of {', '.join(expected)}"]
        found = []
        for name, want in expected.items():
            value, allowed = thinned(np.asarray(got[name])), self.allowed.get(name)
            if name in undecided and value.shape == want.shape and value.dtype == want.dtype:
                value = np.where(undecided[name], want, value)
            if allowed is not None:
                fault = allowed.fault(value, want)
            else:
                fault = None if np.array_equal(value, want) else _integer_fault(value, want)
            if fault:
                found.append(f"{name}: {fault}")
        return found

    def to_bytes(self) -> bytes:
        """The check file. Equal outputs give equal bytes."""
        from safetensors.numpy import save

        rows: dict[str, NDArray[Any]] = {}
        for index, values in enumerate(self.expected):
            rows.update((f"{index}/{name}", array) for name, array in values.items())
        for name, allowed in self.allowed.items():
            rows[f"allowed/{name}"] = np.array([allowed.limit, allowed.span, allowed.float32])
        rows.update((f"drawn/{name}", np.array(bounds)) for name, bounds in self.drawn.items())
        if self.given:
            rows.update((f"given/{name}", array) for name, array in self.inputs[0].items())
        for index, masks in enumerate(self.undecided):
            rows.update((f"undecided{index}/{name}", mask) for name, mask in masks.items())
        rows.update(_head_rows(self.head, self.decided))
        return save({name: np.asarray(values, order="C") for name, values in rows.items()})

    @classmethod
    def from_bytes(cls, data: bytes, inputs: Sequence[TensorSpec], outputs: Sequence[str]) -> Check:
        """What `to_bytes` gave for a network with these inputs and outputs. Raises ValueError for anything else."""
        from safetensors.numpy import load

        rows = load(data)
        drawn = {name: (float(low), float(high)) for name, (low, high) in _under(rows, "drawn").items()}
        given = _under(rows, "given")
        count = sum(bool(_under(rows, str(seed))) for seed in _SEEDS)
        if not count:
            raise ValueError("it holds no expected outputs")
        head = _head_from(_under(rows, "head"), tuple(outputs))
        decided = [_under(rows, f"decided{index}") for index in range(count)]
        undecided = [_under(rows, f"undecided{index}") for index in range(count)]
        return cls(
            inputs=[given] if given else [_drawn(inputs, drawn, seed) for seed in _SEEDS[:count]],
            expected=[_under(rows, str(index)) for index in range(count)],
            allowed={name: Allowance(*map(float, values)) for name, values in _under(rows, "allowed").items()},
            drawn=drawn,
            given=bool(given),
            head=head,
            decided=[Outcomes.from_arrays(**item) for item in decided if item],
            undecided=undecided if any(undecided) else [],
        )


def make_check(
    inputs: Sequence[TensorSpec],
    arbiter: Arbiter,
    head: HeadFacts | None = None,
    given: Arrays | None = None,
    share: float = 0.0,
    hides_head: bool = True,
) -> Check:
    """What `arbiter` says. head: of a detector. given: the input to use; None draws several.

    share: of an output's range that is allowed in any case, see `mdcompiler.tolerance.stored_share`.
    hides_head: whether it may run where only detections can be seen.
    """
    drawn = {item.name: (item.low, item.high) for item in inputs if item.low is not None and item.high is not None}
    fed = [dict(given)] if given is not None else [seeded_inputs(inputs, seed) for seed in _SEEDS]
    answers: list[Answer] = []
    for arrays in fed:
        if len(answers) >= _LEAST_INPUTS and sum(answer.work for answer in answers) > _MOST_WORK:
            break
        answers.append(arbiter(arrays))
    fed = fed[: len(answers)]
    allowed = {name: item.at_least(share) for name, item in _allowances(answers).items()}
    hidden = set(head.outputs) if head is not None else set()
    decided = [_decided(answer, head, allowed) for answer in answers] if head is not None and hides_head else []
    expected = [
        {name: thinned(array) for name, array in answer.values.items() if name not in hidden} for answer in answers
    ]
    return Check(fed, expected, allowed, drawn, given is not None, head, decided)


def read_check(artifact: Artifact) -> Check:
    """The check of `artifact`, from the bytes that its manifest has the hash of.

    Raises ArtifactError when its file is no such check.
    """
    manifest = artifact.manifest
    return parse_check(
        artifact.read(CHECK_FILE, MOST_CHECK_BYTES), artifact.directory / CHECK_FILE, manifest.inputs, manifest.outputs
    )


def parse_check(data: bytes, where: Path, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Check:
    """The check in `data`, of a network with these inputs and outputs. Raises ArtifactError for anything else."""
    with refusing(f"reading {where}", ArtifactError, "Compile the network again."):
        return Check.from_bytes(data, inputs, [item.name for item in outputs])


def thinned(array: NDArray[Any]) -> NDArray[Any]:
    """Every n-th value of a long output."""
    return array if array.size <= _MAX_VALUES else array.reshape(-1)[:: -(-array.size // _MAX_VALUES)]


def _allowances(answers: Sequence[Answer]) -> dict[str, Allowance]:
    found = {}
    for name, first in answers[0].values.items():
        if not np.issubdtype(first.dtype, np.floating):
            continue
        finite = np.concatenate([answer.values[name].reshape(-1) for answer in answers])
        errors = [answer.float32.get(name) for answer in answers]
        known = [error for error in errors if error is not None and np.isfinite(error)]
        found[name] = Allowance.measured(span_of(finite), max(known) if len(known) == len(errors) else None)
    return found


def _decided(answer: Answer, head: HeadFacts, allowed: Mapping[str, Allowance]) -> Outcomes:
    boxes, scores = answer.values[RAW_BOXES][0], answer.values[RAW_SCORES][0]
    limits = (allowed[RAW_BOXES].limit, allowed[RAW_SCORES].limit)
    return outcomes(boxes, scores, head.anchors, head.options, limits)


def _integer_fault(got: NDArray[Any], want: NDArray[Any]) -> str:
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"{got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
    most = np.abs(got.astype(np.float64) - want.astype(np.float64)).max()
    return f"{int((got != want).sum())} of {want.size} values differ, by {most:g} at most; integers are exact"


def _drawn(inputs: Sequence[TensorSpec], drawn: Mapping[str, tuple[float, float]], seed: int) -> dict[str, Any]:
    """The seeded inputs within the bounds of the check, whatever the manifest says of them."""
    bounds = {item.name: drawn.get(item.name, (None, None)) for item in inputs}
    return seeded_inputs(
        [item.model_copy(update=dict(zip(("low", "high"), bounds[item.name], strict=True))) for item in inputs], seed
    )


def _under(rows: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    return {name.partition("/")[2]: array for name, array in rows.items() if name.partition("/")[0] == prefix}


def _head_rows(head: HeadFacts | None, decided: Sequence[Outcomes]) -> dict[str, NDArray[Any]]:
    if head is None:
        return {}
    options = [float(head.options.regular), *(float(getattr(head.options, name)) for name in ATTRIBUTES)]
    rows = {"head/anchors": head.anchors, "head/options": np.array(options)}
    for index, item in enumerate(decided):
        rows.update((f"decided{index}/{name}", array) for name, array in item.arrays().items())
    return rows


def _head_from(rows: Arrays, outputs: tuple[str, ...]) -> HeadFacts | None:
    if not rows:
        return None
    regular, *values = rows["options"].tolist()
    attributes = dict(zip(ATTRIBUTES, values, strict=True))
    counts = {name: int(attributes[name]) for name in ("max_detections", "detections_per_class")}
    anchors = rows["anchors"]
    if (
        anchors.ndim != 2
        or anchors.shape[1] != 4
        or len(outputs) != 4
        or not 0 < counts["max_detections"] <= _MOST_ROWS
    ):
        raise ValueError(f"anchors of shape {list(anchors.shape)} and {counts['max_detections']} detections")
    return HeadFacts(
        anchors, PostprocessOptions.from_attributes({**attributes, **counts}, regular=bool(regular)), outputs
    )

"""How far legal float32 may take a network that is ill-conditioned: asked only when the check says that it is wrong.

One run of unoptimised float32 shows one order of every sum. Two sums of 300 and a little that take each other away are
off by 3e-5 there, by 4e-4 in a kernel that starts from the folded 300: both are what ONNX defines. So the network as it
was compiled, its biases folded and its nodes fused, is run in more ways that are float32 too:

- sums one by one from the bias on, and back from the last term: their largest error is `float32` of an `Allowance`
  beside that of the unoptimised run, times the same factor;
- each result moved at random by as many roundings as that factor, a few times: what jumps then (a floor, an index of
  the largest, one quantization step) is undecided, and left out. Where a good part of a float output jumps, the jump is
  its limit instead.

Errors here are between runs of the compiled network and the same in float64, and what is expected stays the source's
own values: a pass that lost a bias gains nothing, and a kernel that lost one gains only what float32 itself loses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.detection_head import detection_head
from mdcompiler.exact import ExactNetwork, NoExactFormError, RoundedNetwork
from mdcompiler.module import Module
from mdcompiler.self_check import Check, thinned
from mdcompiler.tolerance import FLOAT32_FACTOR, Allowance, stored_share

if TYPE_CHECKING:
    from mdcompiler.quantization.scheme import Scheme

_NUDGES = 4
_FEW = 0.05
"""Share of a float output that may be left out."""
_MOST_WORK = 3_000_000_000
"""Multiply-adds of a network whose sums are added one by one: ten seconds each."""
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _Runs:
    """Outputs for one input of the check. wide: in float64; ordered, nudged: in float32, each in another way."""

    wide: Arrays
    ordered: list[Arrays]
    nudged: list[Arrays]


def widened_check(check: Check, module: Module) -> Check | None:
    """`check` with what other orders of float32 may bring in `module`, as it was compiled; None where that is unknown.

    Integers of a quantized network are exact in any order; what its float kernels hand on to integers is nudged.
    """
    if check.decided:
        return None
    try:
        runs = _runs(module, check)
    except NoExactFormError:
        return None
    share, allowed, undecided = stored_share(module.target.dtypes), dict(check.allowed), []
    for name in check.expected[0].keys() & check.allowed.keys():  # detections are judged by their head
        item = check.allowed[name]
        allowed[name] = _smooth(item, name, runs)
        jumps = [_jumps(run, name, allowed[name].limit) for run in runs]
        if max(mask.mean() for mask in jumps if mask.size) > _FEW:
            most = max(_error(other[name], run.wide[name]) for run in runs for other in run.nudged)
            allowed[name] = Allowance.measured(item.span, max(allowed[name].float32, most / FLOAT32_FACTOR))
        allowed[name] = allowed[name].at_least(share)
    for expected, run in zip(check.expected, runs, strict=True):
        masks = {name: _mask(run, name, want, allowed.get(name)) for name, want in expected.items()}
        undecided.append({name: mask for name, mask in masks.items() if mask.any()})
    return replace(check, allowed=allowed, undecided=undecided)


def _runs(module: Module, check: Check) -> list[_Runs]:
    from mdcompiler.quantization.scheme import read_scheme

    scheme = read_scheme(module.metadata)
    return _float_runs(module, check) if scheme is None else _mixed_runs(module, check, scheme)


def _mixed_runs(module: Module, check: Check, scheme: Scheme) -> list[_Runs]:
    """Of a quantized network, some of whose kernels stay float. Raises NoExactFormError where none does."""
    from mdcompiler.quantization.integer_reference import IntegerReference

    plain = IntegerReference(module, scheme)
    if not plain.has_floats:
        raise NoExactFormError("integers are exact in any order")
    head = detection_head(module)
    nudged = [IntegerReference(module, scheme, FLOAT32_FACTOR, seed) for seed in range(_NUDGES)]

    def outputs(network: IntegerReference, arrays: Arrays) -> Arrays:
        values = network.run(arrays)
        ends = {name: values[name] for name in (tensor.name for tensor in module.graph.outputs)}
        return {name: thinned(array) for name, array in (ends if head is None else head.named(values)).items()}

    return [
        _Runs(outputs(plain, arrays), [], [outputs(network, arrays) for network in nudged]) for arrays in check.inputs
    ]


def _float_runs(module: Module, check: Check) -> list[_Runs]:
    head = detection_head(module)
    model = module.to_onnx() if head is None else head.raw(module).to_onnx()
    names = {} if head is None else head.names
    wide = ExactNetwork(model)

    def outputs(network: ExactNetwork, arrays: Arrays) -> Arrays:
        return {names.get(name, name): thinned(values) for name, values in network.run(arrays).items()}

    nudged = [RoundedNetwork(model, nudge=FLOAT32_FACTOR, seed=seed) for seed in range(_NUDGES)]
    found = []
    for arrays in check.inputs:
        exact = outputs(wide, arrays)
        orders = [RoundedNetwork(model, backward) for backward in (False, True)] if wide.work <= _MOST_WORK else []
        ordered = [outputs(network, arrays) for network in orders]
        found.append(_Runs(exact, ordered, [outputs(network, arrays) for network in nudged]))
    return found


def _smooth(known: Allowance, name: str, runs: list[_Runs]) -> Allowance:
    """What the orders of sums allow."""
    most = max((_error(other[name], run.wide[name]) for run in runs for other in run.ordered), default=0.0)
    return Allowance.measured(known.span, max(known.float32, most))


def _jumps(run: _Runs, name: str, limit: float) -> NDArray[np.bool_]:
    """Values that leave `limit` when every result is a few roundings off."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.any([~(np.abs(other[name] - run.wide[name]) <= limit) for other in run.nudged], axis=0))


def _mask(run: _Runs, name: str, want: NDArray[Any], allowed: Allowance | None) -> NDArray[np.bool_]:
    """Values of which the check says nothing."""
    if allowed is not None:
        return np.asarray(np.isfinite(want) & _jumps(run, name, allowed.limit))
    others = (run.wide, *run.ordered, *run.nudged)
    return np.asarray(np.any([other[name] != want for other in others], axis=0))


def _error(got: NDArray[Any], want: NDArray[Any]) -> float:
    """The largest where both are numbers."""
    error = np.abs(got.astype(np.float64) - want)
    return float(error[np.isfinite(error)].max(initial=0.0))

"""`python -m mdcompiler.conformance NAME`: every check on every model, as a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mdcompiler.backend import Backend
from mdcompiler.conformance import CHECKS, MODELS, ConformanceError, Trial, default_target, try_model
from mdcompiler.errors import MdcError, MissingToolError, UnsupportedError
from mdcompiler.registry import backend as find_backend
from mdcompiler.scratch import scratch_folder
from mdcompiler.target import Target, find_target


def report(backend: Backend, target: Target) -> list[tuple[str, str, str]]:
    """Every check on every model: (model, check, "ok", "refused: …" or the fault)."""
    rows = []
    for name, build in MODELS.items():
        try:
            trial = try_model(backend, target, build())
        except (MissingToolError, UnsupportedError) as error:
            rows.append((name, "compile", f"refused: {error}"))
            continue
        rows += [(name, check, _verdict(trial, check)) for check in CHECKS]
    return rows


def _verdict(trial: Trial, check: str) -> str:
    with scratch_folder("conformance") as folder:
        try:
            CHECKS[check](trial, folder)
        except (ConformanceError, MdcError) as error:
            return str(error)
    return "ok"


def main(arguments: Sequence[str]) -> int:
    """Print the report for the backend or target file named; 0 when no promise is broken, else 1, usage: 2."""
    if len(arguments) != 1:
        print("usage: python -m mdcompiler.conformance BACKEND|TARGET.yaml", file=sys.stderr)
        return 2
    try:
        backend, target = _find(arguments[0])
    except MdcError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    rows = report(backend, target)
    for model, check, verdict in rows:
        print(f"{model:20} {check:16} {verdict}")
    return 0 if conforms(rows) else 1


def conforms(rows: Sequence[tuple[str, str, str]]) -> bool:
    """Whether no check failed, and at least one model was compiled."""
    verdicts = [verdict for _, _, verdict in rows]
    return "ok" in verdicts and all(verdict == "ok" or verdict.startswith("refused: ") for verdict in verdicts)


def _find(name: str) -> tuple[Backend, Target]:
    if name.endswith((".yaml", ".yml")):
        target = find_target(name)
        return find_backend(target.backend), target
    backend = find_backend(name)
    return backend, default_target(backend)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What every backend must do, as checks that run over any of them: the built-in ones and a plug-in's.

    python -m mdcompiler.conformance mychip          # a backend by name
    python -m mdcompiler.conformance mychip.yaml     # the same for one target

A backend may refuse a network, with `UnsupportedError` and a reason; the checks then have nothing to run.
It must not refuse all of them. In a test suite, parametrize over `MODELS` and `CHECKS`:

    trial = try_model(backend, default_target(backend), MODELS[model]())
    CHECKS[check](trial, tmp_path)
"""

from __future__ import annotations

from mdcompiler.conformance.checks import CHECKS, ConformanceError
from mdcompiler.conformance.models import MODELS
from mdcompiler.conformance.trial import Trial, default_target, try_model

__all__ = ["CHECKS", "MODELS", "ConformanceError", "Trial", "default_target", "try_model"]

"""A suite whose cases fail in every way there is, for the tests of the farm."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from mdcompiler.errors import InternalError, SpecError
from tests.fuzz.outcome import Outcome


class Faulty:
    """A case is what it does."""

    def run(self, case: str, folder: Path) -> Outcome:
        if case == "refuse":
            raise SpecError("no")
        if case == "internal":
            raise InternalError("a promise")
        if case == "foreign":
            raise KeyError("x")
        if case == "abort":
            os.abort()
        if case == "sleep":
            time.sleep(60)
        if case == "grow":
            return Outcome("done", str(np.ones(290 << 20)[-1]))
        return Outcome("done")

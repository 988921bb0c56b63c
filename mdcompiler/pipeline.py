"""The only loop that runs passes.

For each pass: check the order, run, verify, record. A failure names the pass, those before it, and what
to do. Three environment variables look inside:

* `MDC_VERIFY`: 0 nothing, 1 structure (default), 2 also numbers against the network as it was read.
* `MDC_DUMP`: a folder; the graph is written there after every pass that changed it.
* `MDC_DEBUG`: 1 a line on stderr for every pass, 2 also its time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mdcompiler.compile_pass import ExplainingPass, Pass, Refusal
from mdcompiler.errors import InternalError, MdcError, OutputError
from mdcompiler.module import Module
from mdcompiler.progress import Progress, silent
from mdcompiler.self_check import Check
from mdcompiler.verify import check_numbers, check_structure, numbers_of


@dataclass
class Pipeline:
    """Runs passes over a module and remembers which ones it has run.

    explain: ask every pass for its refusals right after it ran; they gather in `refused`, pass name first.
    """

    progress: Progress = silent
    verify: int = field(default_factory=lambda: _level("MDC_VERIFY", 1))
    debug: int = field(default_factory=lambda: _level("MDC_DEBUG", 0))
    dump: str = field(default_factory=lambda: os.environ.get("MDC_DUMP", ""))
    explain: bool = False
    ran: list[str] = field(default_factory=list)
    refused: list[tuple[str, Refusal]] = field(default_factory=list)

    def run(self, module: Module, passes: Sequence[Pass]) -> Module:
        """Run `passes` in order over `module`, in place, and return it.

        Raises InternalError naming the pass that broke a promise, or the MdcError a pass raised.
        """
        check_order(passes, self.ran)
        expected = self._expected(module)
        for index, item in enumerate(passes):
            self.progress(f"pass {item.name}", index, len(passes))
            self._run_one(module, item, expected)
        return module

    def _expected(self, module: Module) -> Check | None:
        return None if self.verify < 2 else numbers_of(module)

    def _run_one(self, module: Module, item: Pass, expected: Check | None) -> None:
        started = time.perf_counter()
        try:
            edits = item.run(module)
            if edits:
                self._check(module, expected)
        except MdcError:
            raise
        except Exception as error:
            raise InternalError(self._failure(item, error)) from error
        self.ran.append(item.name)
        if self.explain and isinstance(item, ExplainingPass):
            self.refused.extend((item.name, refusal) for refusal in item.refusals(module))
        if edits:
            module.history.append(item.name)
            self._dump(module, item)
        self._say(item, edits, time.perf_counter() - started)

    def _check(self, module: Module, expected: Check | None) -> None:
        if self.verify >= 1:
            check_structure(module)
        if expected is not None:
            check_numbers(module, expected)

    def _failure(self, item: Pass, error: Exception) -> str:
        before = ", ".join(self.ran) or "none"
        return (
            f"pass {item.name} failed: {error} (passes before it: {before}). "
            "This is a fault of the pass: run again with MDC_DUMP=<folder> and send the last file there."
        )

    def _dump(self, module: Module, item: Pass) -> None:
        if self.dump:
            folder = Path(self.dump)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{len(self.ran):02d}-{item.name}.onnx").write_bytes(module.to_onnx().SerializeToString())
            except OSError as error:
                raise OutputError(f"MDC_DUMP: {folder} cannot be written: {error}. Name another folder.") from error

    def _say(self, item: Pass, edits: int, seconds: float) -> None:
        if self.debug >= 1:
            spent = f", {seconds * 1e3:.0f} ms" if self.debug >= 2 else ""
            print(f"mdc: {item.stage}/{item.name}: {edits} edits{spent}", file=sys.stderr)


def check_order(passes: Sequence[Pass], ran: Sequence[str] = ()) -> None:
    """Raise InternalError when a pass comes before one that it names in `after`."""
    done = set(ran)
    for item in passes:
        missing = [name for name in item.after if name not in done]
        if missing:
            raise InternalError(f"pass {item.name} must come after {', '.join(missing)}; reorder the passes.")
        done.add(item.name)


def _level(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else default

"""The loop over networks and targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from mdcompiler.backend import why_not_run
from mdcompiler.compiler import Job
from mdcompiler.errors import MdcError
from mdcompiler.foreign import shortened
from mdcompiler.matrix.calibration import NOISE_NOTE
from mdcompiler.matrix.network import Network
from mdcompiler.matrix.one_line import one_line
from mdcompiler.matrix.options import MatrixOptions
from mdcompiler.matrix.pair import compile_pair, refused_blocks, report_pair
from mdcompiler.matrix.report import Matrix, PairRow, Verdict
from mdcompiler.matrix.store import Store, artifact_key, check_folder
from mdcompiler.names import unique
from mdcompiler.scratch import scratch_folder

Say = Callable[[str], None]


def run_matrix(options: MatrixOptions, folder: Path, say: Say = lambda text: None) -> Matrix:
    """Compile and examine every pair; artifacts and rows go to `folder`.

    say: called with a line when a pair begins and when it is done. Raises OutputError when `folder` cannot be
    written; whatever happens to a pair is in its row.
    """
    check_folder(folder)
    rows: list[PairRow] = []
    for network in options.networks:
        with scratch_folder("matrix") as scratch:
            rows += _Loop(options, folder, scratch, say, {row.network for row in rows}).rows(network)
    noise = options.calibration is None and any(row.precision == "int8" for row in rows)
    return Matrix(pairs=tuple(rows), notes=(NOISE_NOTE,) if noise else ())


class _Loop:
    """Of one network over the targets. taken: names that other networks have in the report."""

    def __init__(self, options: MatrixOptions, folder: Path, scratch: Path, say: Say, taken: set[str]) -> None:
        self.options, self.folder, self.scratch, self.say, self.taken = options, folder, scratch, say, taken

    def rows(self, name: str) -> Iterator[PairRow]:
        label = unique(shortened(Path(name).stem, 100), self.taken)
        try:
            network = Network(self.options.request(name), self.options, self.scratch)
        except Exception as error:  # a network that breaks the toolkit must not end the others' report
            for target in self.options.targets:
                yield self._told(_failure(label, target, "", error))
            return
        for target in self.options.targets:
            self.say(f"{label} for {target} …")
            yield self._told(self._row(network, label, target))

    def _row(self, network: Network, label: str, asked: str) -> PairRow:
        precision = ""
        try:
            target, precision = self.options.target_of(asked)
            return self._pair(network, label, asked, network.job(target, precision))
        except Exception as error:  # nor one pair the others; whose fault it is stands in its row
            return _failure(label, asked, precision, error)

    def _pair(self, network: Network, label: str, asked: str, job: Job) -> PairRow:
        key = artifact_key(network.source, job.target, job.precision, self.options)
        examined = f"{key} {asked} {self.options.blocks} {why_not_run(job.backend, job.target)}"
        store = Store(self.folder, f"{label}-{job.target.name}-{job.precision}", key, examined)
        known = store.row()
        if known is not None:
            return known
        artifact = store.artifact()
        if artifact is None:
            store.forget()
            try:
                artifact = compile_pair(job, network, store.artifact_folder)
            except MdcError as error:
                row = _failure(label, asked, job.precision, error)
                return row.model_copy(update={"blocks": refused_blocks(job, network)})
            store.keep()
        row = report_pair(job, network, artifact).model_copy(update={"network": label, "target": asked})
        store.keep(row)
        return row

    def _told(self, row: PairRow) -> PairRow:
        self.say(f"{row.network} for {row.target}: {row.verdict}{f' ({row.reason})' if row.reason else ''}")
        return row


def _failure(label: str, target: str, precision: str, error: Exception) -> PairRow:
    """refused: the user's to mend; failed: ours."""
    if isinstance(error, MdcError):
        verdict: Verdict = "refused"
        reason = one_line(error)
    else:
        verdict, reason = "failed", one_line(f"{type(error).__name__}: {error}")
    return PairRow(network=label, target=target, precision=precision, verdict=verdict, reason=reason)

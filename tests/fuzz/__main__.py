"""The command line of the fuzzer, see `tests.fuzz`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from tests.fuzz.farm import Farm
from tests.fuzz.outcome import FAILURES
from tests.fuzz.state import State


def main(arguments: list[str]) -> int:
    """0 when no case failed, else 1."""
    options = _parser().parse_args(arguments)
    return int(options.command(options))


def _mutate(options: argparse.Namespace) -> int:
    from tests.fuzz.kinds import all_kinds
    from tests.fuzz.mutate_run import Progress, Run

    kinds = options.kinds.split(",") if options.kinds else list(all_kinds())
    if options.case:
        return _one(options)
    until = time.monotonic() + 60 * options.minutes

    def enough(progress: Progress) -> bool:
        return progress.cases >= int(options.cases) or time.monotonic() > until

    progress = Run(options.seed, options.state, options.failures, options.keep).go(kinds, enough)
    for name, verdicts in progress.verdicts.items():
        print(f"{name:20} {progress.done[name]:7} {verdicts}")
    total = progress.total()
    print(f"{progress.cases} cases in {progress.seconds:.0f} s: {dict(total)}")
    for fault, (case, count) in progress.faults.items():
        print(f"{count:6} {fault}, first {case}")
    return int(any(total[verdict] for verdict in FAILURES))


def _one(options: argparse.Namespace) -> int:
    """One case again, in this terminal; its input stays in the folder of failures."""
    from tests.fuzz.kinds import all_kinds

    name, number = options.case.split("/")
    kind = all_kinds()[name]
    folder = options.failures or Path(f"{name}-{number}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / kind.file).write_bytes(kind.case(options.seed, int(number)))
    with Farm("mutations", {"seed": options.seed}) as farm:
        outcome = farm.run(options.case)
    print(f"{folder / kind.file}: {outcome.verdict} at {outcome.where}\n{outcome.text}")
    return int(outcome.failed)


def _nodes(options: argparse.Namespace) -> int:
    from tests.fuzz.node_tests import node_tests

    state = State(options.state)
    names = [name for name in node_tests() if options.only in name]
    done = {name for name, outcome in state.outcomes.items() if not options.again or outcome.verdict == "right"}
    left = [name for name in names if name not in done]
    with Farm("nodes", {}) as farm:
        for case, outcome, seconds in farm.run_all(left):
            state.add(case, outcome, seconds)
            if outcome.failed:
                print(f"{case}: {outcome.verdict}: {outcome.text[:300]}", flush=True)
    print(dict(Counter(outcome.verdict for outcome in state.outcomes.values())))
    if options.page is not None:
        from tests.fuzz.node_page import page

        options.page.write_text(page(state.outcomes, options.note))
    return int(any(outcome.failed for outcome in state.outcomes.values()))


def _networks(options: argparse.Namespace) -> int:
    """Random networks; a failing one is shrunk to the nodes that matter."""
    from tests.fuzz.shrink_network import save_failure

    state = State(options.state)
    until = time.monotonic() + 60 * options.minutes
    numbers = range(options.first, options.first + options.cases)
    with Farm("networks", {"seed": options.seed, "target": options.target}) as farm:
        for case in (str(number) for number in numbers if str(number) not in state.outcomes):
            started = time.perf_counter()
            outcome = farm.run(case)
            state.add(case, outcome, time.perf_counter() - started)
            if outcome.failed:
                print(f"{case}: {outcome.verdict} at {outcome.where}: {outcome.text[:600]}", flush=True)
                if options.failures is not None:
                    save_failure(farm, options.seed, int(case), outcome, options.failures / case)
            if time.monotonic() > until:
                break
    print(dict(Counter(outcome.verdict for outcome in state.outcomes.values())))
    return int(any(outcome.failed for outcome in state.outcomes.values()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    verbs = parser.add_subparsers(required=True)
    mutate = verbs.add_parser("mutate", help="damaged inputs of every kind")
    mutate.add_argument("--seed", type=int, default=0)
    mutate.add_argument("--kinds", default="", help="names with commas between; default: all")
    mutate.add_argument("--cases", type=int, default=10**9)
    mutate.add_argument("--minutes", type=float, default=1e6)
    mutate.add_argument("--case", default="", help="KIND/NUMBER: this one again")
    mutate.add_argument("--state", type=Path, help="file; a second run goes on where the first stopped")
    mutate.add_argument("--failures", type=Path, help="folder of shrunk failures")
    mutate.add_argument("--keep", type=Path, help="folder of inputs that were answered with a new sentence")
    mutate.set_defaults(command=_mutate)
    networks = verbs.add_parser("networks", help="random networks: file, passes, float and int8 libraries")
    networks.add_argument("--seed", type=int, default=0)
    networks.add_argument("--first", type=int, default=0, help="number of the first")
    networks.add_argument("--cases", type=int, default=10**9)
    networks.add_argument("--minutes", type=float, default=1e6)
    networks.add_argument("--target", default="cpu")
    networks.add_argument("--state", type=Path, help="file of outcomes; a second run goes on where the first stopped")
    networks.add_argument("--failures", type=Path, help="folder of shrunk failures")
    networks.set_defaults(command=_networks)
    nodes = verbs.add_parser("nodes", help="ONNX's own node tests through `mdc compile --target cpu`")
    nodes.add_argument("--state", type=Path, help="file of outcomes; a second run goes on where the first stopped")
    nodes.add_argument("--only", default="", help="part of the names of the tests")
    nodes.add_argument("--page", type=Path, help="Markdown file to write")
    nodes.add_argument("--note", default="", help="a sentence for the page: from which runs it is")
    nodes.add_argument("--again", action="store_true", help="run again what the file says was not right")
    nodes.set_defaults(command=_nodes)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Hold what every named target emits for the zoo against what is stored.

    python -m tests.golden                          compare everything; exit 1 and what differs
    python -m tests.golden mobiledet-cpu --target x86-64-v3
    python -m tests.golden --write                  store what is emitted now: say in the commit why it changed
    python -m tests.golden NAME --write-ranges      calibrate a network that has no stored ranges yet

A move of code changes nothing here. Half a minute a network and ten targets on one core.
"""

from __future__ import annotations

import argparse
import sys

from mdcompiler.spec import zoo_names
from tests.golden import store
from tests.golden.networks import write_ranges


def main() -> int:
    options = _options()
    if options.write_ranges:
        for network in options.networks:
            write_ranges(network)
        return 0
    changed = sum(_network(network, options.target, options.write) for network in options.networks)
    print(f"{changed} pairs of network and target changed", flush=True)
    return int(changed > 0 and not options.write)


def _network(network: str, targets: list[str], rewrite: bool) -> int:
    rows, changed = store.read(network), 0
    for target, precision in store.pairs():
        if targets and target not in targets:
            continue
        key, found = f"{target} {precision}", store.golden(network, target, precision)
        faults = store.differences(found, rows[key]) if key in rows else ["not stored"]
        changed += bool(faults)
        if faults:
            print(f"{network} {key}: {'; '.join(faults[:8])}", flush=True)
        rows[key] = store.row(found)
    if rewrite:
        store.write(network, rows)
    return changed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=list(zoo_names()), help="of the zoo; all of them")
    parser.add_argument("--target", action="append", default=[], help="only this one; may be given again")
    parser.add_argument("--write", action="store_true", help="store what is emitted now")
    parser.add_argument("--write-ranges", action="store_true", help="calibrate and store the ranges")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

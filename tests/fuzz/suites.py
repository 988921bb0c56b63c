"""The suites by name."""

from __future__ import annotations

from typing import Any

from tests.fuzz.worker import Suite


def open_suite(name: str, options: dict[str, Any]) -> Suite:
    """The suite called `name`; what it imports is imported here."""
    if name == "nodes":
        from tests.fuzz.forked_compiler import fork_compilers
        from tests.fuzz.node_tests import NodeTests

        fork_compilers()
        return NodeTests()
    if name == "mutations":
        from tests.fuzz.mutations import Mutations

        return Mutations(**options)
    if name == "networks":
        from tests.fuzz.differential import Differential
        from tests.fuzz.forked_compiler import fork_compilers

        fork_compilers()
        return Differential(**options)
    if name == "faulty":
        from tests.fuzz.faulty import Faulty

        return Faulty()
    raise ValueError(f"no suite {name!r}")

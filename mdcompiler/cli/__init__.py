"""The command `mdc`. Start-up is quick: what a command needs is imported inside it."""

from mdcompiler.cli.app import main, run

__all__ = ["main", "run"]

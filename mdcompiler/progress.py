"""How long work tells where it stands: a function called with what is being done and how much is left."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as `progress(activity, done, total)`; done == total when an activity ends."""

    def __call__(self, activity: str, done: int, total: int) -> None: ...


def silent(activity: str, done: int, total: int) -> None:
    """The progress of a program that shows none."""

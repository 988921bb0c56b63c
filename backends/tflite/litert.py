"""The optional package ai-edge-litert: the schema of `.tflite` files, and the interpreter that runs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mdcompiler.errors import MissingToolError


def schema() -> Any:
    """The module with the classes of the file format. Raises MissingToolError when it is not installed."""
    return _part("schema_py_generated", "writing a .tflite file")


def interpreter() -> Any:
    """The module with the interpreter. Raises MissingToolError when it is not installed."""
    return _part("interpreter", "running a .tflite file")


def _part(name: str, doing: str) -> Any:
    try:
        import_module("flatbuffers")
        return import_module(f"ai_edge_litert.{name}")
    except ImportError:
        raise MissingToolError(f"{doing} needs the package ai-edge-litert: pip install mdcompiler[edgetpu]") from None

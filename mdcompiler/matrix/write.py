"""The files of a matrix: text, JSON, a page."""

from __future__ import annotations

from pathlib import Path

from mdcompiler.matrix.page import as_page
from mdcompiler.matrix.report import Matrix
from mdcompiler.matrix.text import as_text
from mdcompiler.write_aside import write_file

TEXT, DATA, PAGE = "matrix.txt", "matrix.json", "matrix.html"


def write_reports(matrix: Matrix, folder: Path) -> None:
    """Write the three files to `folder`. Raises OutputError."""
    write_file(folder / TEXT, as_text(matrix).encode())
    write_file(folder / DATA, (matrix.model_dump_json(indent=1) + "\n").encode())
    write_file(folder / PAGE, as_page(matrix).encode())

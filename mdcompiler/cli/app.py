"""`mdc`: its verbs, its exit codes, and what a user sees when something goes wrong.

0 done; 1 the input is wrong (one message); 2 wrong usage; 3 a fault of the toolkit (a report is written).
"""

from __future__ import annotations

import io
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mdcompiler import __version__
from mdcompiler.cli import (
    catalog,
    compile_command,
    latency_command,
    lut_command,
    matrix_command,
    networks,
    quantize_command,
    records_command,
    tune_command,
    use,
)
from mdcompiler.errors import InternalError, MdcError
from mdcompiler.foreign import shortened

_MOST_CHARACTERS = 4000

app = typer.Typer(
    name="mdc",
    help="Compile searched object detectors (the MobileDet family) from an architecture spec to device binaries.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _verb, _command in (
    ("zoo", networks.zoo),
    ("show", networks.show),
    ("lower", networks.lower),
    ("schema", networks.schema),
    ("compile", compile_command.compile_network),
    ("quantize", quantize_command.quantize),
    ("tune", tune_command.tune),
    ("run", use.run),
    ("detect", use.detect),
    ("bench", use.bench),
    ("verify", use.verify),
    ("targets", catalog.targets),
    ("passes", catalog.passes),
    ("explain", catalog.explain),
    ("latency", latency_command.latency),
    ("lut", lut_command.lut),
    ("matrix", matrix_command.matrix),
):
    app.command(_verb)(_command)
app.add_typer(records_command.app, name="records")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mdc {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options of every verb."""


def main() -> None:
    """The entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a file's name need not be text, and a terminal need not have every letter
            stream.reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run `mdc` with these arguments; the exit code."""
    try:
        app(args=list(arguments), prog_name="mdc")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except MdcError as error:
        return _say(f"mdc: {error}", 1)
    except MemoryError as error:
        return _say(f"mdc: not enough memory{f': {error}' if str(error) else ''}. Free some, or use fewer threads.", 1)
    except Exception as error:  # whatever gets here is our fault, and the user is owed a way to report it
        return _say(_internal(error, arguments), 3)
    return 0


def _say(message: str, code: int) -> int:
    """Show a message. Names in it may come from a file, and be megabytes long or drive the terminal."""
    lines = [shortened(line, _MOST_CHARACTERS) for line in message.split("\n")]
    print("\n".join(lines), file=sys.stderr)
    return code


def _internal(error: Exception, arguments: Sequence[str]) -> str:
    what = str(error) if isinstance(error, InternalError) else f"{type(error).__name__}: {error}"
    dump = os.environ.get("MDC_DUMP")
    graphs = f" and the graphs in {dump}" if dump else "; run again with MDC_DUMP=<folder> to add the graphs"
    return f"mdc: internal error: {what}\nmdc: this is no fault of yours. Please send {_report(arguments)}{graphs}."


def _report(arguments: Sequence[str]) -> Path:
    """A file with all that a developer needs; it holds no data of the user but the command line."""
    lines = [
        f"mdc {__version__}, Python {platform.python_version()}, {platform.platform()}",
        f"command: mdc {' '.join(arguments)}",
        traceback.format_exc(),
    ]
    with tempfile.NamedTemporaryFile(
        "w", prefix="mdc-report-", suffix=".txt", delete=False, errors="backslashreplace"
    ) as file:
        file.write("\n".join(lines))
    return Path(file.name)

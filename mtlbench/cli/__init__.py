"""The command line: verbs that parse, call and print. Each verb imports what it needs on use, so that help is fast."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from mtlbench.cli import bench, diagnose, export, grids, map, overfit, plugins, report, results, study, tune
from mtlbench.cli.app import INTERRUPTED, app
from mtlbench.cli.digits import check_numbers
from mtlbench.errors import UsageError
from mtlbench.host.safe_names import visible
from mtlbench.host.streams import make_streams_safe

__all__ = [
    "app",
    "bench",
    "diagnose",
    "export",
    "grids",
    "main",
    "map",
    "overfit",
    "plugins",
    "report",
    "results",
    "study",
    "tune",
]

COMMAND_LINE_ERROR: type[Any] = typer.BadParameter.__mro__[2]
"""click's ``ClickException``, found through typer: some versions of typer carry a private copy of click."""


def main() -> None:
    """Run the command line.

    :raises SystemExit: always: with the verb's exit code; with 2, after one line on standard error, for bad input; with
        130 after Ctrl-C.
    """
    make_streams_safe()
    try:
        check_numbers(sys.argv[1:])
        code = app(prog_name="mtlbench", standalone_mode=False)
        sys.stdout.flush()  # flush now, while a full disk can still be reported
    except COMMAND_LINE_ERROR as error:
        typer.echo(f"mtlbench: {visible(' '.join(error.format_message().split()))}", err=True)
        code = error.exit_code
    except UsageError as error:
        typer.echo(f"mtlbench: {visible(str(error))}", err=True)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, closed the pipe
        _discard_output()
        code = 0
    except OSError as error:
        _discard_output()
        typer.echo(f"mtlbench: {visible(str(error.filename or 'output'))}: {error.strerror or error}", err=True)
        code = 2
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code and prints nothing
        typer.echo("mtlbench: stopped; finished cells are kept, the same command goes on", err=True)
    sys.exit(code or 0)


def _discard_output() -> None:
    """Redirect standard output to the null device: flushing its buffer at exit would fail a second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

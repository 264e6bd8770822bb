"""The command line: verbs that parse, call and print. Each imports what it needs itself, so that help is quick."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from mtlbench.cli import bench, diagnose, export, grids, overfit, plugins, report, results, study, tune
from mtlbench.cli.app import app
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
    "overfit",
    "plugins",
    "report",
    "results",
    "study",
    "tune",
]

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it: 128 and SIGINT."""
COMMAND_LINE_ERROR: type[Any] = typer.BadParameter.__mro__[2]
"""click's ClickException, wherever this version of typer has it: typer carries a private copy of click."""


def main() -> None:
    """Run the command line; bad input prints one line and exits with 2, Ctrl-C with 130."""
    make_streams_safe()
    try:
        check_numbers(sys.argv[1:])
        code = app(prog_name="mtlbench", standalone_mode=False)
        sys.stdout.flush()  # here, where a full disk can still be reported
    except COMMAND_LINE_ERROR as error:
        typer.echo(f"mtlbench: {visible(' '.join(error.format_message().split()))}", err=True)
        code = error.exit_code
    except UsageError as error:
        typer.echo(f"mtlbench: {visible(str(error))}", err=True)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except BrokenPipeError:  # the reader, such as head, has seen enough
        _discard_output()
        code = 0
    except OSError as error:
        _discard_output()
        typer.echo(f"mtlbench: {visible(str(error.filename or 'output'))}: {error.strerror or error}", err=True)
        code = 2
    if code == INTERRUPTED:  # typer turns Ctrl-C into this code without a word
        typer.echo("mtlbench: stopped; finished cells are kept, the same command goes on", err=True)
    sys.exit(code or 0)


def _discard_output() -> None:
    """Send what standard output still holds to nowhere: flushed at exit, it would fail a second time."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

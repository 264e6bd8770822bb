"""``report``: tables, comparisons and figures made from the records of a folder, or of two."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtlbench.cli.app import Results, app, deliver
from mtlbench.errors import UsageError, unknown
from mtlbench.host.streams import takes_escapes

if TYPE_CHECKING:
    from mtlbench.records.record import Record
    from mtlbench.report.examples import Examples
    from mtlbench.report.figures import Gallery
    from mtlbench.report.result import Report

INTERRUPTED = 130
POLL_SECONDS = 2.0
CLEAR = "\x1b[2J\x1b[3J\x1b[H"
"""Empties a terminal and what was scrolled out of it, which would be older versions of the same report."""


@app.command()
def report(
    context: typer.Context,
    results: Results = Path("results"),
    baseline: Annotated[str, typer.Option(envvar="MTLBENCH_BASELINE", help="Method to compare against.")] = "sum",
    format: Annotated[str, typer.Option(help="text, markdown, csv, json, latex or html.")] = "text",
    output: Annotated[Path | None, typer.Option(help="File to write, in place of the terminal.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for all figures, as SVG, PNG and PDF.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Two results folders, in place of --results; the baseline is the first one's."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            envvar="MTLBENCH_MARGIN",
            help="Difference, in the scores' unit, below which methods count as alike; to be fixed before looking.",
        ),
    ] = None,
    examples: Annotated[
        bool, typer.Option("--examples", help="Also intervals over seeds and development rows at once (accuracy).")
    ] = False,
    split: Annotated[
        str, typer.Option(help="Rows that are reported: dev; or test, where the suite carved a test split (test_rows).")
    ] = "dev",
    watch: Annotated[
        bool, typer.Option("--watch", help="Print again when records come or change, until Ctrl-C.")
    ] = False,
) -> None:
    """Print tables and paired comparisons made from the records."""
    from mtlbench.report import FORMATS

    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    if split not in ("dev", "test"):
        raise unknown("split", split, ("dev", "test"))
    source = context.get_parameter_source("results")
    if compare and source is not None and source.name == "COMMANDLINE":
        raise UsageError("--compare names both results folders; leave out --results")

    def show() -> None:
        options = {"margin": margin, "split": split, "examples": _by_row() if examples else None}
        made, records = _read_pair(compare, baseline, options) if compare else _read(results, baseline, options)
        drawn = None if figures is None else _save_figures(made, records, figures)
        _show(made, records, drawn, format, output, clear=watch)

    if watch:
        _repeat(show, compare or (results,))
    else:
        show()


def _by_row() -> Examples:
    from mtlbench.report.predictions import right_answers

    return right_answers


def _read(folder: Path, baseline: str, options: dict[str, Any]) -> tuple[Report, list[Record]]:
    """Return the report of a folder, and the records it is made from.

    :param options: of :func:`mtlbench.report.build.build`.
    :raises UsageError: when there are none.
    """
    from mtlbench.records.store import Store
    from mtlbench.report.build import build

    found = Store(folder).scan()
    gc.freeze()  # records hold no cycles: where there are thousands, the collector would walk over them in vain
    if not found.records and not found.damaged:
        raise UsageError(f"no records in {folder}; run mtlbench run first, or give --results FOLDER")
    return build(found.records, found.damaged, baseline=baseline, **options), found.records


def _read_pair(folders: tuple[Path, Path], baseline: str, options: dict[str, Any]) -> tuple[Report, list[Record]]:
    """Return the report of two folders beside each other, and the records it is made from.

    :raises UsageError: when one has no records, or both are the same.
    """
    from mtlbench.report.build import build
    from mtlbench.upkeep.two_folders import Pair

    pair = Pair(folders)
    first, second = pair.scan()
    gc.freeze()  # as in _read
    records = [*first.records, *second.records]
    made = build(records, [*first.damaged, *second.damaged], baseline=pair.baseline(baseline), **options)
    return pair.annotated(made, (first, second)), records


def _show(
    made: Report, records: list[Record], drawn: Gallery | None, format: str, output: Path | None, *, clear: bool
) -> None:
    """Print or write the report.

    :param drawn: its figures, if there are any yet.
    :param clear: whether it replaces what is on the terminal.
    """
    from mtlbench.report import render

    terminal = sys.stdout.isatty() and output is None
    escapes = terminal and takes_escapes()
    text = render(made, format, width=None if terminal else 80, color=escapes, records=records, drawn=drawn)
    deliver(CLEAR + text if clear and escapes else text, output, format)


def _save_figures(made: Report, records: list[Record], folder: Path) -> Gallery:
    """Write all figures, say which the records cannot give, and return them."""
    from mtlbench.report import gallery
    from mtlbench.report.figures.save import save_figures

    found = gallery(made, records)
    written = save_figures(found.figures, folder)
    for omission in found.omitted:
        typer.echo(f"no figure: {omission.group}: {omission.reason}", err=True)
    typer.echo(f"wrote {len(written)} figure files to {folder}", err=True)
    return found


def _repeat(show: Callable[[], None], folders: tuple[Path, ...]) -> None:
    """Show again whenever a record is added, changed or removed, until Ctrl-C.

    A grid that has only begun may lack records, or the baseline: that is told, and waited for.
    """
    from mtlbench.records.store import Store

    stores = [Store(folder) for folder in folders]
    shown = None
    try:
        while True:
            state = [store.state() for store in stores]  # before reading: what changes meanwhile shows next time
            if state != shown:
                shown = state
                try:
                    show()
                except UsageError as error:
                    typer.echo(f"mtlbench: {error}; waiting", err=True)
                sys.stdout.flush()
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)  # the ordinary end, of which there is nothing to say

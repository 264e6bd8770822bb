"""``report``: tables, comparisons and figures from the records of one results folder, or of two."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtlbench.cli.app import INTERRUPTED, Results, app, deliver
from mtlbench.errors import UsageError, unknown
from mtlbench.host.streams import takes_escapes

if TYPE_CHECKING:
    from mtlbench.records.record import Record
    from mtlbench.report.blocks import Block
    from mtlbench.report.examples import Examples
    from mtlbench.report.figures import Gallery
    from mtlbench.report.result import Report

POLL_SECONDS = 2.0
CLEAR = "\x1b[2J\x1b[3J\x1b[H"
"""Clears the terminal and its scrollback, which would hold older versions of the same report."""


@app.command()
def report(
    context: typer.Context,
    results: Results = Path("results"),
    baseline: Annotated[str, typer.Option(envvar="MTLBENCH_BASELINE", help="Method to compare against.")] = "sum",
    format: Annotated[str, typer.Option(help="text, markdown, csv, json, latex or html.")] = "text",
    output: Annotated[Path | None, typer.Option(help="File to write instead of printing.")] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for all figures, each as SVG, PNG and PDF.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="Two results folders to compare, instead of --results; the baseline is from the first."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            envvar="MTLBENCH_MARGIN",
            help="Score difference below which methods count as equivalent; choose it before you look.",
        ),
    ] = None,
    examples: Annotated[
        bool,
        typer.Option("--examples", help="Also print intervals over seeds and development rows together (accuracy)."),
    ] = False,
    split: Annotated[
        str, typer.Option(help="Rows to report on: dev; or test, if the suite set aside a test split (test_rows).")
    ] = "dev",
    watch: Annotated[bool, typer.Option("--watch", help="Print again whenever records change, until Ctrl-C.")] = False,
) -> None:
    """Print tables and paired comparisons from the records."""
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
        built, records = _read_pair(compare, baseline, options) if compare else _read(results, baseline, options)
        gallery = None if figures is None else _save_figures(built, records, figures)
        _show(built, records, gallery, format, output, clear=watch)

    if watch:
        _repeat(show, compare or (results,))
    else:
        show()


def _by_row() -> Examples:
    from mtlbench.report.predictions import right_answers

    return right_answers


def _read(folder: Path, baseline: str, options: dict[str, Any]) -> tuple[Report, list[Record]]:
    """Return the report of a folder, and its records.

    :param options: keyword arguments of :func:`mtlbench.report.build.build`.
    :raises UsageError: if there are no records.
    """
    from mtlbench.records.folder import read_folder
    from mtlbench.report.build import build

    contents = read_folder(folder, lambda line: typer.echo(line, err=True))
    gc.freeze()  # records hold no cycles: with thousands of them, garbage collection would traverse them in vain
    return build(contents.records, contents.damaged, baseline=baseline, **options), contents.records


def _read_pair(folders: tuple[Path, Path], baseline: str, options: dict[str, Any]) -> tuple[Report, list[Record]]:
    """Return the report that compares two folders, and their records.

    :raises UsageError: if one has no records, or both are the same folder.
    """
    from mtlbench.upkeep.two_folders import Pair

    pair = Pair(folders)
    contents = pair.scan()
    gc.freeze()  # as in _read
    return pair.report(contents, baseline, **options)


def _show(
    built: Report, records: list[Record], gallery: Gallery | None, format: str, output: Path | None, *, clear: bool
) -> None:
    """Print or write the report.

    :param gallery: its figures, if they have been drawn already.
    :param clear: whether to clear the terminal first.
    """
    from mtlbench.report import render

    terminal = sys.stdout.isatty() and output is None
    escapes = terminal and takes_escapes()
    width = None if terminal else 80
    findings = _findings(records) if format == "html" else None
    text = render(built, format, width=width, color=escapes, records=records, drawn=gallery, findings=findings)
    deliver(CLEAR + text if clear and escapes else text, output, format)


def _findings(records: list[Record]) -> Mapping[str, Sequence[Block]]:
    """Return the findings of ``mtlbench diagnose`` for each group."""
    from mtlbench.diagnose.text import by_group

    return by_group(records)


def _save_figures(built: Report, records: list[Record], folder: Path) -> Gallery:
    """Write all figures, report those that the records do not support, and return all."""
    from mtlbench.report import gallery
    from mtlbench.report.figures.save import save_figures

    figures = gallery(built, records)
    written = save_figures(figures.figures, folder)
    for omission in figures.omitted:
        typer.echo(f"no figure: {omission.group}: {omission.reason}", err=True)
    typer.echo(f"wrote {len(written)} figure files to {folder}", err=True)
    return figures


def _repeat(show: Callable[[], None], folders: tuple[Path, ...]) -> None:
    """Show the report again whenever a record is added, changed or removed, or a watched run goes on, until Ctrl-C.

    A grid that has just started may lack records or the baseline: say so, and wait.
    """
    from mtlbench.records.store import Store
    from mtlbench.records.watched_log import log_stamps

    stores = [Store(folder) for folder in folders]
    shown = None
    try:
        while True:
            # before reading: later changes show next time
            state = [store.state() | log_stamps(store.folder) for store in stores]
            if state != shown:
                shown = state
                try:
                    show()
                except UsageError as error:
                    typer.echo(f"mtlbench: {error}; waiting", err=True)
                sys.stdout.flush()
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)  # the normal end; prints nothing

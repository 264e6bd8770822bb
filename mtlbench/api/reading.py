"""Verbs that read or maintain results folders: ``report``, ``diagnose``, ``status``, ``merge`` and ``export``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mtlbench.api.arguments import PathName, path_of, paths_of
from mtlbench.api.results import Results, as_results
from mtlbench.errors import UsageError, unknown
from mtlbench.host.disk import write_text

if TYPE_CHECKING:
    import pandas as pd

    from mtlbench.records.record import Record
    from mtlbench.report.result import Report
    from mtlbench.upkeep.export import Exported
    from mtlbench.upkeep.merge import Merged
    from mtlbench.upkeep.status import Status


def report(
    results: PathName | Results = "results",
    *,
    baseline: str = "sum",
    format: str = "text",
    output: PathName | None = None,
    figures: PathName | None = None,
    compare: tuple[PathName, PathName] | None = None,
    margin: float | None = None,
    examples: bool = False,
    split: str = "dev",
    width: int = 80,
) -> str:
    """Return tables and paired comparisons as text, as ``mtlbench report`` prints them.

    :param results: the results folder, or results that :func:`mtlbench.run` or :func:`mtlbench.load_results` returned.
    :param baseline: method to compare with.
    :param format: text, markdown, csv, json, latex or html.
    :param output: file to write as well.
    :param figures: folder for all figures, each as SVG, PNG and PDF.
    :param compare: two results folders to compare, in place of ``results``; the baseline is from the first.
    :param margin: score difference below which methods count as equivalent; choose it before you look.
    :param examples: whether to add intervals over seeds and development rows together (accuracy).
    :param split: ``dev``, or ``test`` where the suite set aside a test split.
    :param width: columns of the text format.
    :returns: the report.
    :raises UsageError: when there are no records, no group has the baseline, or an argument is wrong.

    >>> import mtlbench
    >>> results = mtlbench.run("digits", ["sum", "pcgrad"], seeds=2, steps=2, quiet=True)
    >>> print(mtlbench.report(results, format="markdown").splitlines()[0])
    ## digits
    """
    from mtlbench.report import FORMATS, gallery, render
    from mtlbench.report.figures.save import save_figures

    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    built, records = _built(results, baseline, margin, examples, split, compare)
    drawn = None if figures is None else gallery(built, records)
    if drawn is not None:
        save_figures(drawn.figures, path_of("figures", figures))
    findings = None
    if format == "html":
        from mtlbench.diagnose.text import by_group

        findings = by_group(records)
    text = render(built, format, width=width, records=records, drawn=drawn, findings=findings)
    if output is not None:
        write_text(path_of("output", output), text)
    return text


def _built(
    results: PathName | Results,
    baseline: str,
    margin: float | None,
    examples: bool,
    split: str,
    compare: Sequence[PathName] | None,
) -> tuple[Report, Sequence[Record]]:
    """Return the report as a value, and its records."""
    from mtlbench.report.predictions import right_answers

    by_row = right_answers if examples else None
    if compare is None:
        loaded = as_results(results)
        built = loaded.build(baseline, margin=margin, split=split, examples=by_row)
        return built, [*loaded.records, *loaded.watched]
    from mtlbench.upkeep.two_folders import Pair

    if results != "results":
        raise UsageError("compare names both results folders; leave out results")
    folders = paths_of("compare", compare)
    if len(folders) != 2:
        raise UsageError(f"compare takes two results folders, not {len(folders)}")
    pair = Pair((folders[0], folders[1]))
    return pair.report(pair.scan(), baseline, margin=margin, split=split, examples=by_row)


def diagnose(results: PathName | Results = "results") -> pd.DataFrame:
    """Diagnose finished, failed and running cells: what is wrong, why, and what to do, as ``mtlbench diagnose`` does.

    :param results: the results folder, or results that :func:`mtlbench.run` or :func:`mtlbench.load_results` returned.
    :returns: a row for each finding: suite, group, code, severity (error, warning or note), what, evidence, cause, fix,
        sure, tasks, method, seeds, of; docs/diagnose.md describes every code.
    :raises UsageError: when there are no records.

    >>> import mtlbench
    >>> results = mtlbench.run("digits", ["sum", "pcgrad"], seeds=2, steps=2, quiet=True)
    >>> list(mtlbench.diagnose("results").columns)[:5]
    ['suite', 'group', 'code', 'severity', 'what']
    """
    return as_results(results).findings


def status(results: PathName = "results") -> Status:
    """Return which cells of a results folder are done, failed (and why), running, missing or damaged.

    :param results: the results folder.
    :returns: ``.cells``, ``.running``, ``.checkpoints`` and ``.damaged``, as ``mtlbench status --json`` prints them.
    :raises UsageError: when the folder does not exist.

    >>> import mtlbench
    >>> results = mtlbench.run("digits", ["sum", "pcgrad"], seeds=2, steps=2, quiet=True)
    >>> mtlbench.status("results").cells[0].status
    'done'
    """
    from mtlbench.upkeep.status import read_status

    return read_status(path_of("results", results))


def merge(folders: PathName | Iterable[PathName], into: PathName, *, dry_run: bool = False) -> Merged:
    """Copy the records of several results folders into one, as ``mtlbench merge`` does.

    :param folders: results folders to copy from; they are only read.
    :param into: results folder to copy to; created if missing.
    :param dry_run: whether to copy nothing, and return what would be copied.
    :returns: ``.copied``, ``.present``, ``.conflicts`` (cells whose scores differ) and ``.left`` (damaged files).
    :raises UsageError: when a folder does not exist, or ``into`` cannot be written.

    >>> import mtlbench
    >>> results = mtlbench.run("digits", ["sum", "pcgrad"], seeds=2, steps=2, quiet=True)
    >>> len(mtlbench.merge(["results"], into="all-results").copied)
    4
    """
    from mtlbench.records.store import NotRecorded
    from mtlbench.upkeep.merge import merge

    sources = paths_of("folders", folders)
    if not sources:
        raise UsageError("give at least one results folder to copy from")
    try:
        return merge(sources, path_of("into", into), dry_run=dry_run)
    except NotRecorded as error:
        raise UsageError(f"merge stopped: {error}; the copies made so far are complete") from None


def export(folder: PathName, *, to: str = "csv", results: PathName = "results") -> Exported:
    """Export the histories of all finished cells to other tools, as ``mtlbench export`` does.

    :param folder: folder to write to.
    :param to: ``csv``: one tidy table; ``tensorboard`` or ``mlflow``: one run per cell.
    :param results: the results folder.
    :returns: ``.cells``, the number of exported cells, and ``.left_out``, path and reason of those left out.
    :raises UsageError: when there are no finished cells, the folder cannot be written, or a library is missing.

    >>> import mtlbench
    >>> results = mtlbench.run("digits", ["sum", "pcgrad"], seeds=2, steps=2, quiet=True)
    >>> mtlbench.export("histories").cells
    4
    """
    from mtlbench.upkeep.export import export_folder

    return export_folder(path_of("results", results), to, path_of("folder", folder))

"""The results of a folder as data frames."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mtlbench.api.arguments import PathName, path_of
from mtlbench.errors import unknown

if TYPE_CHECKING:
    import pandas as pd

    from mtlbench.plan.cells import Cell
    from mtlbench.records.record import Record
    from mtlbench.report.examples import Examples
    from mtlbench.report.result import Report
    from mtlbench.upkeep.status import CellStatus

SPLITS = ("dev", "test")


@dataclass(frozen=True, repr=False)
class Results:
    """Results of a folder, or of one grid in it, as pandas frames in the words of records and reports.

    :func:`mtlbench.load_results` and :func:`mtlbench.run` return them. Frames are made on first use. They are those of
    the time of reading; findings also read the checkpoints of unfinished cells.

    :param folder: the results folder.
    :param records: the records.
    :param damaged: path and reason of every file that is not a valid record.
    :param planned: the cells of the grid, if these are the results of one; ``None``: of a whole folder.
    :param watched: records of watched runs that go on.

    >>> import mtlbench
    >>> results = mtlbench.run("digits", ["sum", "pcgrad"], seeds=2, steps=2, quiet=True)
    >>> results
    Results of 4 cells in results: 4 done
    >>> sorted(results.scores.task.unique())
    ['left', 'right']
    """

    folder: Path
    records: Sequence[Record]
    damaged: Sequence[tuple[str, str]] = ()
    planned: Sequence[Cell] | None = None
    watched: Sequence[Record] = field(default=())

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Scores of the finished cells: suite, group, method, seed, task, metric, split, value. Higher is better."""
        from mtlbench.api.frames import scores_frame

        return scores_frame(self.records)

    @cached_property
    def cells(self) -> pd.DataFrame:
        """All cells: suite, group, method, seed, status (done, failed, running, missing), cost and error."""
        from mtlbench.api.frames import cells_frame

        return cells_frame(self._states(), self.records)

    @cached_property
    def history(self) -> pd.DataFrame:
        """Every number of the finished cells' histories: suite, group, method, seed, step, task, what, value, elapsed.

        A history that cannot be read is left out with a warning.
        """
        from mtlbench.api.frames import history_frame

        return history_frame(self.records, warn)

    @cached_property
    def comparisons(self) -> pd.DataFrame:
        """Every method compared with ``sum``: :meth:`compare` without arguments."""
        return self.compare()

    @cached_property
    def findings(self) -> pd.DataFrame:
        """What the doctor finds in finished, failed and unfinished cells, the gravest of each group first."""
        from mtlbench.api.frames import findings_frame
        from mtlbench.diagnose import diagnose
        from mtlbench.diagnose.text import finding_rows
        from mtlbench.diagnose.unfinished import unfinished

        going = [cast("Record", record) for record in unfinished(self.folder, warn)]
        if self.planned is not None:
            keys = {cell.key for cell in self.planned}
            going = [record for record in going if record["key"] in keys]
        return findings_frame(finding_rows(diagnose([*self.records, *going])))

    @property
    def complete(self) -> bool:
        """Whether every cell is done."""
        return all(state.status == "done" for state in self._states())

    def compare(self, baseline: str = "sum", *, margin: float | None = None, split: str = "dev") -> pd.DataFrame:
        """Compare every method with a baseline, as the tables of the report do.

        Columns: suite, group, task, metric, method, baseline, mean_difference, ci_low and ci_high (95 % interval), p,
        p_adjusted (Holm's, within ``family``), verdict, and what docs/report.schema.json describes besides.

        :param baseline: spec or name of the method to compare with.
        :param margin: score difference below which methods count as equivalent; choose it before you look.
        :param split: ``dev``, or ``test`` where the suite set aside a test split.
        :returns: a row for each method, task and metric; for Δm (``family`` is ``delta_m``); and for every two methods
            of the ranking (``pairs``).
        :raises UsageError: when no group has the baseline, there are no records, or an argument is wrong.
        """
        from mtlbench.api.frames import comparisons_frame

        return comparisons_frame(self.build(baseline, margin=margin, split=split))

    def build(
        self,
        baseline: str = "sum",
        *,
        margin: float | None = None,
        split: str = "dev",
        examples: Examples | None = None,
    ) -> Report:
        """Return the report as a value, from which every format is made.

        :param baseline: as for :meth:`compare`, like ``margin`` and ``split``.
        :param examples: returns a record's scores by row, as for :func:`mtlbench.report.build.build`.
        :raises UsageError: as :meth:`compare`.
        """
        from mtlbench.report.build import build

        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        return build([*self.records, *self.watched], self.damaged, baseline, margin, examples, split)

    def _states(self) -> list[CellStatus]:
        from mtlbench.records.leases import holders
        from mtlbench.upkeep.status import CellStatus, cell_states

        held = {holder.key for holder in holders(self.folder) if not holder.gone}
        states = cell_states(self.records, held)
        if self.planned is None:
            return states
        known = {(state.group, state.method, state.seed): state for state in states}
        return [
            known.get((cell.group, cell.method, cell.seed))
            or CellStatus(cell.suite, cell.group, cell.method, cell.seed, "missing")
            for cell in self.planned
        ]

    def __repr__(self) -> str:
        states = self._states()
        counts = Counter(state.status for state in states)
        words = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
        return f"Results of {len(states)} cells in {self.folder}: {words}"


def load_results(folder: PathName = "results") -> Results:
    """Read a results folder.

    A damaged record is left out with a warning.

    :param folder: the folder, as ``mtlbench run`` or :func:`mtlbench.run` has written it.
    :returns: its results as data frames.
    :raises UsageError: when there are no records.

    >>> import mtlbench
    >>> results = mtlbench.run("digits", ["sum", "pcgrad"], seeds=2, steps=2, quiet=True)
    >>> scores = mtlbench.load_results("results").scores
    >>> scores[scores.metric == "accuracy"].pivot_table("value", ["method"], ["task"]).shape
    (2, 2)
    """
    from mtlbench.records.folder import read_folder

    path = path_of("folder", folder)
    contents = read_folder(path, warn)
    for file, reason in contents.damaged:
        warn(f"left out: {file}: {reason}")
    going = [record for record in contents.records if record["status"] in ("running", "stopped")]
    ended = [record for record in contents.records if record["status"] not in ("running", "stopped")]
    return Results(path, ended, contents.damaged, watched=going)


def results_of(folder: Path, planned: Sequence[Cell]) -> Results:
    """Return the results of one grid.

    :param folder: its results folder, which need not exist.
    :param planned: its cells.
    """
    from mtlbench.records.store import Store

    keys = {cell.key for cell in planned}
    records = [record for record in Store(folder).scan().records if record["key"] in keys]
    return Results(folder, records, planned=planned)


def as_results(results: Any) -> Results:
    """Return results that are given as such, or by their folder.

    :param results: :class:`Results`, or a path.
    :raises UsageError: as :func:`load_results`.
    """
    return results if isinstance(results, Results) else load_results(path_of("results", results))


def warn(line: str) -> None:
    """Warn the caller of the public function: the command line prints such lines on standard error.

    :param line: the message.
    """
    warnings.warn(line, UserWarning, stacklevel=2)

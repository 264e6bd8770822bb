"""The evidence for findings: one method's cells of one group, with their histories and predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any, TypeVar

import numpy as np

from mtlbench.diagnose.finding import Finding
from mtlbench.records.groups import Cells, Record
from mtlbench.records.left_out import is_left_out
from mtlbench.records.outputs import Numbers, read_outputs
from mtlbench.records.record_file import read_history

T = TypeVar("T")


@dataclass(frozen=True)
class Outputs:
    """A task's raw outputs and labels on the development rows after the last step.

    :param values: (N, outputs) array.
    :param labels: (N,) array of class numbers or real scores; (N, outputs) if rows have several labels or numbers.
    :param unit: the size of a difference between outputs that counts: 1 for logits and for standardised scores, the
        labels' standard deviation for scores in the labels' own unit.
    """

    values: Numbers
    labels: Numbers
    unit: Numbers | float = 1.0


def standard_error(metric: str, rows: int) -> float:
    """Return the largest possible standard error of a score.

    :param metric: name of the metric; any but a correlation or a share of variance counts as a share of rows.
    :param rows: number of development rows.
    """
    return (1.0 if metric in ("pearson", "spearman", "r2") else 0.5) / sqrt(rows)


class LeftOut(Exception):
    """A side file that a check reads was left out of the record on purpose: the check says nothing of the cell."""


class Run:
    """One cell: finished, failed or unfinished.

    :param record: the record; that of an unfinished cell comes from :mod:`mtlbench.diagnose.unfinished`.
    """

    def __init__(self, record: Record) -> None:
        self.record = record
        self._losses: dict[str, Numbers] = {}
        self._measured: dict[str, list[dict[str, Any]]] = {}

    @property
    def seed(self) -> int:
        """The seed of the cell."""
        return int(self.record["seed"])

    @property
    def unfinished(self) -> bool:
        """Whether more steps will follow, so that the last ones so far mean little."""
        return "history" in self.record

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of the history; empty if there is none, or it cannot be read.

        :raises LeftOut: if it was left out on purpose.
        """
        if self.unfinished:
            return list(self.record["history"])
        if is_left_out(self.record, "history"):
            raise LeftOut
        try:
            return [dict(row) for row in read_history(self.record)]
        except (OSError, ValueError):  # the scan reports damaged records; the doctor examines the rest
            return []

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """Rows of the history for steps, in order."""
        return [row for row in self.rows if "scores" not in row]

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """Rows of the history for evaluations, in order."""
        return [row for row in self.rows if "scores" in row]

    def losses(self, task: str) -> Numbers:
        """Return a task's training loss at every step that has a finite one.

        :param task: key of the task.
        """
        losses = self.raw_losses(task)
        return losses[np.isfinite(losses)]

    def raw_losses(self, task: str) -> Numbers:
        """Return a task's training loss at every step that has one, finite or not.

        :param task: key of the task.
        """
        if task not in self._losses:
            losses = [row["losses"][task] for row in self.steps if task in row["losses"]]
            self._losses[task] = np.array(losses, dtype=np.float64)
        return self._losses[task]

    def scores(self, task: str, metric: str) -> list[float]:
        """Return a task's scores at all evaluations, without undefined ones.

        :param task: key of the task.
        :param metric: name of the metric.
        """
        scores = [row["scores"].get(task, {}).get(metric) for row in self.evaluations]
        return [score for score in scores if score is not None]

    def measured(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of the steps with a certain measurement.

        :param name: name of the measurement, such as ``norms`` or ``after``.
        """
        if name not in self._measured:
            self._measured[name] = [row for row in self.steps if name in row]
        return self._measured[name]

    @cached_property
    def outputs(self) -> Mapping[str, Outputs]:
        """Predictions by task; empty if there are none, or they have no labels.

        :raises LeftOut: if they were left out on purpose.
        """
        if is_left_out(self.record, "predictions"):
            raise LeftOut
        own_unit = self.record["recipe"].get("problem") is not None  # texts' scores are standardised
        tasks = self.record["tasks"]
        return {
            task: _outputs(values, labels, tasks[task]["prediction"], own_unit)
            for task, (values, labels) in read_outputs(self.record).items()
            if task in tasks
        }


def _outputs(values: Numbers, labels: Numbers, prediction: str, own_unit: bool) -> Outputs:
    several = prediction == "multilabel" or (prediction == "regression" and labels.shape[1] > 1)
    spread = labels.std(axis=0)
    unit = np.where(spread > 0.0, spread, 1.0) if own_unit and prediction == "regression" else 1.0
    return Outputs(values, labels if several else labels[:, 0], unit)


class Patient:
    """One method's cells of one group.

    :param cells: the group, with the cells of all methods.
    :param method: spec of the method.
    """

    def __init__(self, cells: Cells, method: str) -> None:
        self.cells, self.method = cells, method
        running = [record for (spec, _), record in sorted(cells.unfinished.items()) if spec == method]
        self.runs = [Run(record) for record in (*cells.done_of.get(method, {}).values(), *running)]
        self.failed = [Run(record) for (spec, _), record in sorted(cells.failed.items()) if spec == method]

    @property
    def recipe(self) -> dict[str, Any]:
        """Recipe of the group."""
        return self.cells.recipe

    @property
    def seeds(self) -> list[int]:
        """Seeds of the cells that did not fail."""
        return [run.seed for run in self.runs]

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Description of each task in the record, by key, in the order of the recipe."""
        described = (self.runs or self.failed)[0].record["tasks"]
        return {task.name: described[task.name] for task in self.cells.tasks if task.name in described}

    def floor(self, task: str) -> tuple[str, float] | None:
        """Return the name and score of the best rule without a model, by the task's primary metric, if there is one.

        :param task: key of the task.
        """
        described = self.tasks[task]
        floors = described["floors"].get(described["metrics"][0]) or []
        defined = [(rule["name"], float(rule["value"])) for rule in floors if rule["value"] is not None]
        return max(defined, key=lambda rule: rule[1], default=None)

    @property
    def encoder(self) -> str:
        """Spec of the encoder; empty where there is none, such as for a problem, which brings a model of its own."""
        return "" if self.cells.problem is not None else str(self.cells.encoder.get("spec", ""))

    @property
    def watched(self) -> bool:
        """Whether this is a user's own training that was watched: no recipe, rows or predictions are known."""
        return self.cells.watched is not None

    def epochs(self, task: str) -> float:
        """Return how often training uses each training row of a task, on average.

        :param task: key of the task; the run is not a watched one.
        """
        seen = self.runs[0].record.get("seen") or {}  # older records lack it, and all use uniform sampling
        rows = seen.get(task, self.recipe["steps"] * self.recipe["batch_size"])
        return float(rows / max(1, self.tasks[task]["train"]))

    def examined(self, test: Callable[[Run], T | None]) -> dict[int, T | None]:
        """Return the result of a test by seed, without the cells whose side files it needs and which lack them.

        :param test: called with every cell.
        """
        results = {}
        for run in self.runs:
            with suppress(LeftOut):
                results[run.seed] = test(run)
        return results

    def cases(self, test: Callable[[Run], T | None]) -> dict[int, T]:
        """Return the results of a test by seed.

        :param test: returns ``None`` for a cell without the fault.
        """
        return {seed: value for seed, value in self.examined(test).items() if value is not None}

    def majority(self, test: Callable[[Run], T | None]) -> dict[int, T]:
        """Return the results of a test by seed if it has a result in more than half of the cells, else nothing.

        Cells that lack the side files which the test needs do not count.

        :param test: returns ``None`` for a cell without the fault.
        """
        results = self.examined(test)
        cases = {seed: value for seed, value in results.items() if value is not None}
        return cases if 2 * len(cases) > len(results) else {}

    def finding(self, seeds: Iterable[int], *tasks: str, **fields: Any) -> Finding:
        """Return a finding on this method's cells.

        :param seeds: seeds of the affected cells.
        :param tasks: keys of the affected tasks.
        :param fields: the other fields of the finding.
        """
        return Finding(**fields, tasks=tasks, method=self.method, seeds=tuple(seeds), of=len(self.runs))

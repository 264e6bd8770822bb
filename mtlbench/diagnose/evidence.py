"""What the doctor looks at: one method's cells of one group, with their histories and predictions."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mtlbench.diagnose.finding import Finding
from mtlbench.records.groups import Cells, Record
from mtlbench.records.record_file import read_history, read_side_file

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Outputs:
    """A task's raw outputs and labels on the development rows after the last step.

    :param values: (N, outputs).
    :param labels: (N,) class numbers or real scores; (N, outputs) zeros and ones where a row may have several labels.
    """

    values: Numbers
    labels: Numbers


def standard_error(metric: str, rows: int) -> float:
    """Return the largest standard error of a score on so many development rows: a share, or a correlation."""
    return (1.0 if metric in ("pearson", "spearman") else 0.5) / sqrt(rows)


class Run:
    """One cell: finished, failed, or not at its end (:mod:`mtlbench.diagnose.unfinished`)."""

    def __init__(self, record: Record) -> None:
        self.record = record

    @property
    def seed(self) -> int:
        return int(self.record["seed"])

    @property
    def unfinished(self) -> bool:
        """Whether more steps are to come: what is true of the last ones means little."""
        return "history" in self.record

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The history; empty where there is none that can be read."""
        if self.unfinished:
            return list(self.record["history"])
        try:
            return [dict(row) for row in read_history(self.record)]
        except (OSError, ValueError):  # a scan names damaged records; the doctor looks at what there is
            return []

    @cached_property
    def steps(self) -> list[dict[str, Any]]:
        """The history's steps."""
        return [row for row in self.rows if "scores" not in row]

    @cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """The history's evaluations, in order."""
        return [row for row in self.rows if "scores" in row]

    def losses(self, task: str) -> Numbers:
        """Return a task's training loss at every step."""
        return np.array([row["losses"][task] for row in self.steps if task in row["losses"]], dtype=np.float64)

    def scores(self, task: str, metric: str) -> list[float]:
        """Return a task's scores at all evaluations, where they are defined."""
        found = [row["scores"].get(task, {}).get(metric) for row in self.evaluations]
        return [value for value in found if value is not None]

    def measured(self, name: str) -> list[dict[str, Any]]:
        """Return the steps at which something was measured, such as ``norms`` or ``after``."""
        return [row for row in self.steps if name in row]

    @cached_property
    def outputs(self) -> Mapping[str, Outputs]:
        """The predictions by task; empty where there are none with labels."""
        try:
            table = pd.read_parquet(io.BytesIO(read_side_file(dict(self.record), "predictions")))
            return _outputs(table, self.record["tasks"]) if "label" in table.columns else {}
        except (OSError, ValueError, KeyError, TypeError, NotImplementedError):  # as the report takes them
            return {}


def _outputs(table: pd.DataFrame, tasks: Mapping[str, Any]) -> Mapping[str, Outputs]:
    found = {}
    for task, rows in table.groupby("task", observed=True):
        wide = rows.pivot(index="row", columns="output", values="value")
        labels = rows.pivot(index="row", columns="output", values="label").to_numpy(dtype=np.float64)
        several = tasks[str(task)]["prediction"] == "multilabel"
        found[str(task)] = Outputs(wide.to_numpy(dtype=np.float64), labels if several else labels[:, 0])
    return found


class Patient:
    """One method's cells of one group.

    :param cells: the group, for what other methods reached.
    """

    def __init__(self, cells: Cells, method: str) -> None:
        self.cells, self.method = cells, method
        running = [record for (spec, _), record in sorted(cells.unfinished.items()) if spec == method]
        self.runs = [Run(record) for record in (*cells.done_of.get(method, {}).values(), *running)]
        self.failed = [Run(record) for (spec, _), record in sorted(cells.failed.items()) if spec == method]

    @property
    def recipe(self) -> dict[str, Any]:
        return self.cells.recipe

    @property
    def seeds(self) -> list[int]:
        """Of the cells that did not fail."""
        return [run.seed for run in self.runs]

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """What a record says of each task, by key, in the order of the recipe."""
        described = (self.runs or self.failed)[0].record["tasks"]
        return {task.name: described[task.name] for task in self.cells.tasks if task.name in described}

    def floor(self, task: str) -> tuple[str, float] | None:
        """Return name and score of the best rule without a model, on the task's primary metric."""
        described = self.tasks[task]
        floors = described["floors"].get(described["metrics"][0]) or []
        known = [(one["name"], float(one["value"])) for one in floors if one["value"] is not None]
        return max(known, key=lambda one: one[1], default=None)

    def epochs(self, task: str) -> float:
        """Return how often each training row of a task is seen by the end, on average."""
        seen = self.runs[0].record.get("seen") or {}  # older records: no other sampling than the uniform one
        rows = seen.get(task, self.recipe["steps"] * self.recipe["batch_size"])
        return float(rows / max(1, self.tasks[task]["train"]))

    def most(self, test: Callable[[Run], Any]) -> dict[int, Any]:
        """Return what a test finds, by seed, where it finds something in more than half of the cells."""
        found = {run.seed: value for run in self.runs if (value := test(run)) is not None}
        return found if 2 * len(found) > len(self.runs) else {}

    def finding(self, found: Iterable[int], *tasks: str, **told: Any) -> Finding:
        """Make a finding about this method's cells.

        :param found: the seeds of those that show it.
        """
        return Finding(**told, tasks=tasks, method=self.method, seeds=tuple(found), of=len(self.runs))

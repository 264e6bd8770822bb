"""``mtlbench overfit``: check that each task's model can learn one batch of its rows by heart.

A model that cannot has a fault between rows and weights, whatever the method: a loss that ignores the labels, a head or
shared parameters without a gradient, or a learning rate that is too small to move anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from rich.markup import escape

from mtlbench.errors import CellError
from mtlbench.grid.command import RunRequest, load_workload
from mtlbench.host.streams import print_data
from mtlbench.host.terminal import console
from mtlbench.plan.cells import Workload
from mtlbench.plugins.registry import Registry, load_registry
from mtlbench.report.blocks import Bullets, Paragraph, Row, Section, Table
from mtlbench.report.numbers import number
from mtlbench.report.text import render
from mtlbench.training.train import train

BY_HEART = 0.95
"""Least primary metric on the batch itself that counts as learned; every built-in metric is at most 1."""
STUCK = 0.98
"""A last loss above this fraction of the first one counts as not fallen."""
ONE_BATCH = {
    "epochs": None,
    "lr_schedule": "constant",
    "evaluations": 1,
    "test_rows": None,
    "sampling": "uniform",
    "head_steps": 0,
    "accumulate": 1,
    "processes": 1,
}
"""Recipe fields that have no meaning for one batch of one task; the suite decides the others."""


@dataclass(frozen=True)
class OverfitResult:
    """Result of one task's batch.

    :param rows: number of rows in the batch.
    :param metric: name of the task's primary metric.
    :param score: that metric on the batch after the last step, without dropout.
    :param first: loss of the first step, in training mode.
    :param last: loss of the last step, in training mode.
    :param error: why training stopped; the numbers are ``None`` then.
    """

    task: str
    rows: int
    metric: str
    score: float | None = None
    first: float | None = None
    last: float | None = None
    error: str | None = None

    @property
    def by_heart(self) -> bool:
        """Whether the batch was learned."""
        return self.score is not None and self.score >= BY_HEART

    @property
    def verdict(self) -> str:
        """The outcome in words, with a hint where the batch was not learned."""
        if self.error is not None:
            return self.error
        if self.by_heart:
            return "learned by heart"
        assert self.first is not None and self.last is not None
        if self.last > STUCK * self.first:
            return "the loss does not fall: look at the task's loss(), the head, what is frozen, and the learning rate"
        return (
            "the loss falls, but not far enough: try more --steps or a higher --lr; or the labels do not fit the loss"
        )


def run_overfit(request: RunRequest, *, as_json: bool, width: int | None, color: bool) -> int:
    """Try every task of a request, print the results, and return the exit code.

    :param as_json: whether to print JSON instead of a table.
    :param width: columns of the table; ``None`` for a pipe.
    :param color: whether to print terminal escapes.
    :returns: 1 if a batch was not learned, else 0.
    :raises UsageError: for an invalid request, before the first step.
    """
    registry = load_registry(request.plugin_files)
    workload = load_workload(replace(request, changes={**ONE_BATCH, **request.changes}), registry)
    torch.set_num_threads(workload.recipe.threads)
    results = list(overfit(workload, registry))
    text = to_json(results) if as_json else to_text(workload, results, width, color)
    print_data(text, "json" if as_json else "text")
    return 0 if all(result.by_heart for result in results) else 1


def overfit(workload: Workload, registry: Registry) -> Iterator[OverfitResult]:
    """Train one model per task on one batch, score it on that batch, and yield the result."""
    for position, task in enumerate(workload.tasks):
        single = replace(workload, problem=workload.problem.alone(position, workload.recipe.batch_size))
        overfitted = OverfitResult(task.key, single.problem.rows, task.metrics[0])
        try:
            with console.status(f"one batch of {escape(task.key)}"):
                result = train(single, registry.method("stl"), 0)
        except CellError as error:
            yield replace(overfitted, error=str(error))
            continue
        losses = [row["losses"][task.key] for row in result.history if "losses" in row]
        score = result.scores["dev"][task.key][overfitted.metric]
        yield replace(overfitted, score=score, first=losses[0], last=losses[-1])


def to_text(workload: Workload, results: Sequence[OverfitResult], width: int | None, color: bool) -> str:
    """Render results as a table for the terminal, with hints for batches that were not learned."""
    rows = [
        Row((r.task, str(r.rows), r.metric, *(_number(value) for value in (r.score, r.first, r.last)))) for r in results
    ]
    title = f"{workload.problem.title}, {workload.steps} steps on one batch of a task, lr {workload.recipe.lr:g}"
    columns = ("task", "rows", "metric", "score", "first loss", "last loss")
    caption = (f"Learned by heart: a score of {BY_HEART} or more on the batch itself. Losses are in training mode.",)
    missed = tuple(f"{result.task}: {result.verdict}" for result in results if not result.by_heart)
    end = Bullets("Not learned by heart", missed) if missed else Paragraph("Every task's batch was learned by heart.")
    return render([Table(title, columns, (Section(None, tuple(rows)),), caption), end], width, color)


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


def to_json(results: Sequence[OverfitResult]) -> str:
    """Render results as JSON."""
    tasks = [{**asdict(result), "by_heart": result.by_heart, "verdict": result.verdict} for result in results]
    return json.dumps({"schema": 1, "tasks": tasks}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

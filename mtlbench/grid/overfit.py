"""``mtlbench overfit``: whether each task's model can learn one batch of its rows by heart.

What cannot do so has a fault between rows and weights (a loss that ignores the labels, a head or an encoder that no
gradient reaches, a learning rate that moves nothing), whatever the method is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from rich.markup import escape

from mtlbench import seeds
from mtlbench.contract.task import Rows, Splits
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
"""The primary metric on the batch itself from which on it counts as learned; every built-in metric is at most 1."""
STUCK = 0.98
"""A loss that stays above this share of its first value did not fall."""
ALONE = {
    "epochs": None,
    "lr_schedule": "constant",
    "evaluations": 1,
    "test_rows": None,
    "sampling": "uniform",
    "head_steps": 0,
    "accumulate": 1,
    "processes": 1,
}
"""What of a suite's recipe makes no sense for one batch of one task; all else stays."""


@dataclass(frozen=True)
class Learned:
    """What came of one task's batch.

    :param rows: in the batch.
    :param metric: the task's primary one, and its value on the batch after the last step, without dropout.
    :param first: the loss of the first step.
    :param last: the loss of the last step; both with dropout.
    :param error: why training stopped, in place of the numbers.
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
        """What it means, in words."""
        if self.error is not None:
            return self.error
        if self.by_heart:
            return "learned by heart"
        assert self.first is not None and self.last is not None
        if self.last > STUCK * self.first:
            return "the loss does not fall: look at the task's loss(), the head, what is frozen, and the learning rate"
        return "the loss falls, and not far enough: more --steps, or a higher --lr; or the labels do not fit the loss"


def run_overfit(request: RunRequest, *, as_json: bool, width: int | None, color: bool) -> int:
    """Try every task of a request, print what came of it, and return the exit code: 1 when a batch was not learned.

    :raises UsageError: for anything wrong with the request, before the first step.
    """
    registry = load_registry(request.plugin_files)
    workload = load_workload(replace(request, changes={**ALONE, **request.changes}), registry)
    torch.set_num_threads(workload.recipe.threads)
    found = list(overfit(workload, registry))
    text = to_json(found) if as_json else to_text(workload, found, width, color)
    print_data(text, "json" if as_json else "text")
    return 0 if all(one.by_heart for one in found) else 1


def overfit(workload: Workload, registry: Registry) -> Iterator[Learned]:
    """Train a model of its own on one batch of each task, and score it on that batch."""
    for task, splits in zip(workload.tasks, workload.splits, strict=True):
        batch = one_batch(splits.train, workload.recipe.batch_size, task.key)
        learned = Learned(task.key, len(batch), task.metrics[0])
        alone = replace(workload, tasks=(task,), splits=(Splits(batch, batch, splits.source),))
        try:
            with console.status(f"one batch of {escape(task.key)}"):
                result = train(alone, registry.method("stl"), 0)
        except CellError as error:
            yield replace(learned, error=str(error))
            continue
        losses = [row["losses"][task.key] for row in result.history if "losses" in row]
        score = result.scores["dev"][task.key][learned.metric]
        yield replace(learned, score=score, first=losses[0], last=losses[-1])


def one_batch(rows: Rows, size: int, task: str) -> Rows:
    """Return ``size`` rows, or all if there are fewer: the same ones always, no text twice, and not all of one label.

    One text with two labels could not be learned, and one label says nothing of whether texts are read.
    """
    order = seeds.generator("overfit", task).permutation(len(rows))
    new = list({rows.texts[n]: n for n in reversed(order.tolist())}.values())[::-1]  # the first in order of each text
    chosen = new[:size]
    other = (n for n in new[size:] if np.any(rows.labels[n] != rows.labels[chosen[0]]))
    if np.all(rows.labels[chosen] == rows.labels[chosen[0]]) and (swapped := next(other, None)) is not None:
        chosen[-1] = swapped
    return rows.picked(np.array(chosen))


def to_text(workload: Workload, found: Sequence[Learned], width: int | None, color: bool) -> str:
    """Render as a table for the terminal, and what to look at where a batch was not learned."""
    rows = [
        Row((one.task, str(one.rows), one.metric, *(_shown(value) for value in (one.score, one.first, one.last))))
        for one in found
    ]
    title = f"{workload.files.title}, {workload.steps} steps on one batch of a task, lr {workload.recipe.lr:g}"
    columns = ("task", "rows", "metric", "score", "first loss", "last loss")
    caption = (f"Learned by heart: a score of {BY_HEART} or more on the batch itself. Losses are with dropout.",)
    missed = tuple(f"{one.task}: {one.verdict}" for one in found if not one.by_heart)
    end = Bullets("Not learned by heart", missed) if missed else Paragraph("Every task's batch was learned by heart.")
    return render([Table(title, columns, (Section(None, tuple(rows)),), caption), end], width, color)


def _shown(value: float | None) -> str:
    return "-" if value is None else number(value)


def to_json(found: Sequence[Learned]) -> str:
    """Render as JSON."""
    tasks = [{**asdict(one), "by_heart": one.by_heart, "verdict": one.verdict} for one in found]
    return json.dumps({"schema": 1, "tasks": tasks}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

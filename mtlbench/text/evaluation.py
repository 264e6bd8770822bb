"""The evaluation of a model on the rows of a split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from mtlbench.contract.entries import Scores
from mtlbench.engine.packed.pack import Pack
from mtlbench.engine.processes import Processes
from mtlbench.errors import CellError
from mtlbench.problem.interface import Labels, Outputs
from mtlbench.problem.metrics import score
from mtlbench.text.batches import TaskData
from mtlbench.text.model import MultiTaskModel


def evaluate(
    model: MultiTaskModel, data: Sequence[TaskData], split: str, step: int, device: str, processes: Processes
) -> tuple[Scores, Outputs, Labels]:
    """Score a model on every task's rows of a split. Each process computes some of the outputs.

    :param data: the tasks of the model's heads, in order.
    :param split: ``"dev"`` or ``"test"``.
    :param step: optimizer steps done, for error messages.
    :param processes: the processes that share the work.
    :returns: scores, raw outputs and labels by task.
    :raises CellError: when a metric is not defined for the outputs; it names step and task.
    """
    model.eval()
    scores: Scores = {}
    outputs: Outputs = {}
    labels: Labels = {}
    with torch.inference_mode():
        for head, task_data in zip(model.heads, data, strict=True):
            task, rows = task_data.task, task_data.evaluated[split].rows
            values = np.zeros((len(rows), task.outputs), dtype=np.float32)
            for number, (chosen, tokens) in enumerate(task_data.evaluated[split].batches()):
                if number % processes.count == processes.rank:
                    vectors = model.features(Pack.of([tokens], device))[0]
                    values[chosen] = head(vectors).float().cpu().numpy()
            processes.add(torch.from_numpy(values))
            try:
                scores[task.key] = {**score(task, values, rows.labels)}
            except CellError as error:
                raise CellError(f"evaluation after step {step}, task {task.key}: {error}", step, task.key) from None
            outputs[task.key], labels[task.key] = values, rows.labels
    model.train()
    return scores, outputs, labels

"""Raw outputs of a problem's model on a split, and their scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mtlbench import seeds
from mtlbench.contract.entries import Scores
from mtlbench.contract.problem import Problem, Target
from mtlbench.engine.processes import Processes
from mtlbench.errors import CellError, UsageError
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.interface import Labels, Outputs
from mtlbench.problem.metrics import score
from mtlbench.problem.randomness import seeded
from mtlbench.problem.splits import Split

EVALUATION_ROWS = 256
"""Rows of one forward pass during evaluation."""


@dataclass(frozen=True)
class Unit:
    """Mean and standard deviation of a task's real labels: the loss sees standardised labels.

    For a problem that declares ``standardise = False``, they are 0 and 1: the loss sees the labels as they are. Scores
    and stored predictions are in the labels' own unit, so that metrics may compare numbers.

    :param mean: (C,) means over the labelled training rows.
    :param spread: (C,) standard deviations.
    """

    mean: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def of(cls, problem: Problem, target: Target, train: Split) -> Unit:
        """Return the unit of a task.

        :raises UsageError: when the labels are too large to be standardised.
        """
        if target.prediction != "regression" or not problem.standardise:
            return cls(np.zeros(target.outputs), np.ones(target.outputs))
        labels = train.labels[target.name][train.labelled[target.name]]
        with np.errstate(all="ignore"):
            unit = cls(labels.mean(axis=0), labels.std(axis=0))
        if not (np.isfinite(unit.spread) & (unit.spread > 0.0)).all():
            raise UsageError(
                f"problem {problem.name}: task {target.name}: its training labels are too large or too close to each "
                "other to be standardised; rescale them"
            )
        return unit

    def targets(self, target: Target, labels: NDArray[np.float64] | NDArray[np.int64]) -> torch.Tensor:
        """Return what the loss compares outputs with: classes as they are, numbers of float32.

        :param target: the task.
        :param labels: (N,) or (N, C) labels, any value where there is none.
        """
        if target.prediction == "classification":
            return torch.from_numpy(labels.astype(np.int64))
        return torch.from_numpy(np.nan_to_num((labels - self.mean) / self.spread).astype(np.float32))

    def outputs(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, C) outputs of a model in the labels' unit."""
        if not self.mean.any() and (self.spread == 1.0).all():
            return outputs
        with np.errstate(over="ignore"):
            return (outputs * self.spread + self.mean).astype(np.float32)


def evaluate(
    hooks: Hooks,
    model: nn.Module,
    tasks: Sequence[Target],
    split: Split,
    units: Mapping[str, Unit],
    *,
    name: str,
    step: int,
    device: torch.device,
    processes: Processes,
) -> tuple[Scores, Outputs, Labels]:
    """Score a model in evaluation mode on the labelled rows of a split. Each process computes some of the outputs.

    Batches depend on the problem's chosen tasks alone, so that the outputs of two methods are comparable bit by bit.

    :param hooks: the author's code.
    :param model: the model.
    :param tasks: the tasks to score.
    :param split: the rows.
    :param units: by task, the unit of its labels.
    :param name: the split's name.
    :param step: optimizer steps done, for error messages.
    :param device: of the model.
    :param processes: the processes that share the work.
    :returns: scores, raw outputs (those of real numbers in the labels' unit) and labels by task, of the labelled rows.
    :raises CellError: when an output is not finite, or a metric is not defined for the outputs; it names step and task.
    """
    values = {task.name: np.zeros((len(split), task.outputs), dtype=np.float32) for task in tasks}
    where = f"evaluation after step {step}"
    model.eval()
    try:
        with torch.inference_mode(), seeded(seeds.derive("evaluation", name, step), device):
            for number, (rows, group) in enumerate(_batches(hooks, tasks, split)):
                if number % processes.count != processes.rank:
                    continue
                inputs = hooks.inputs(lambda rows=rows: split.take(rows), device)  # type: ignore[misc]
                outputs = hooks.outputs(model, inputs, group, len(rows))
                for task in tasks:
                    if task in group:
                        values[task.name][rows] = outputs[task.name].float().cpu().numpy()
    except CellError as error:
        raise CellError(f"{where}: {error}", step, error.task) from error
    finally:
        model.train()
    scores: Scores = {}
    labels: Labels = {}
    for task in tasks:
        processes.add(torch.from_numpy(values[task.name]))
        values[task.name] = units[task.name].outputs(values[task.name][split.labelled[task.name]])
        labels[task.name] = split.scored(task)
        try:
            scores[task.name] = {**score(task, values[task.name], labels[task.name])}
        except CellError as error:
            raise CellError(f"{where}, task {task.name}: {error}", step, task.name) from None
    return scores, values, labels


def _batches(
    hooks: Hooks, tasks: Sequence[Target], split: Split
) -> Iterator[tuple[NDArray[np.int64], Sequence[Target]]]:
    """Yield numbers of rows, and the tasks whose outputs are computed for them."""
    groups: list[Sequence[Target]] = [(task,) for task in tasks] if hooks.problem.separate else [hooks.targets]
    for group in groups:
        needed = np.logical_or.reduce([split.labelled[task.name] for task in group])
        numbers = np.flatnonzero(needed)
        for start in range(0, len(numbers), EVALUATION_ROWS):
            yield numbers[start : start + EVALUATION_ROWS], group

"""Training rows, and batches of them on the model's device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.contract.problem import Target
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.splits import Split


@dataclass(frozen=True)
class Batch:
    """Rows of one forward pass, on the model's device.

    :param inputs: what the author's ``outputs`` reads.
    :param rows: B.
    :param labelled: for each task, the numbers of the rows with a label; ``None`` where all have one.
    :param labels: for each task, the targets of these rows.
    :param factors: for each task, the factor of its loss: 1, or its share of the whole batch's rows in a part.
    """

    inputs: Any
    rows: int
    labelled: Sequence[torch.Tensor | None]
    labels: Sequence[torch.Tensor]
    factors: Sequence[float]


class TrainingRows:
    """Training rows with their targets on a device.

    :param hooks: the author's code.
    :param split: the training rows.
    :param targets: task → (N,) or (N, C) targets of the losses, on the model's device.
    """

    def __init__(self, hooks: Hooks, split: Split, targets: dict[str, torch.Tensor]) -> None:
        self.hooks, self.split, self.targets = hooks, split, targets
        self._complete = {task: bool(mask.all()) for task, mask in split.labelled.items()}
        self.device = next(iter(targets.values())).device
        self.draws = not _are_arrays(split.examples.inputs)
        """Whether the author's code reads the inputs, and may draw random numbers for it."""

    def batch(self, numbers: NDArray[np.int64], tasks: Sequence[Target], part: int = 0, parts: int = 1) -> Batch:
        """Return some rows as a batch, or one of its equal parts.

        :param numbers: numbers of the rows.
        :param tasks: the tasks whose losses are computed.
        :param part: the part.
        :param parts: the number of parts.
        """
        rows = numbers.reshape(parts, -1)[part]
        labelled: list[torch.Tensor | None] = []
        labels, factors = [], []
        for target in tasks:
            chosen, mask = rows, self.split.labelled[target.name]
            where, factor = None, 1.0
            if not self._complete[target.name] and not mask[rows].all():
                positions = np.flatnonzero(mask[rows])
                chosen, where = rows[positions], torch.from_numpy(positions).to(self.device)
            if parts > 1:
                factor = len(chosen) * parts / np.count_nonzero(mask[numbers])
            labelled.append(where)
            labels.append(self.targets[target.name][torch.from_numpy(chosen).to(self.device)])
            factors.append(float(factor))
        inputs = self.hooks.inputs(lambda: self.split.take(rows), self.device)
        return Batch(inputs, len(rows), labelled, labels, factors)


def _are_arrays(inputs: Any) -> bool:
    if isinstance(inputs, Mapping):
        return all(_are_arrays(part) for part in inputs.values())
    return isinstance(inputs, np.ndarray | torch.Tensor)

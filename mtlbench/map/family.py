"""Instances of the family ``regimes``, many at once: the rows, batches and first weights of the ordinary trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from mtlbench.contract.examples import Examples
from mtlbench.map.cells import Setting
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.rows import SHARED
from mtlbench.problem.schedule import batch_schedule
from mtlbench.problems.regimes import Regimes, spread

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class Rows:
    """Rows of S instances.

    :param inputs: (S, N, D) inputs; the last of the D numbers is 1, the input of the bias.
    :param labels: (S, N, K) labels.
    """

    inputs: torch.Tensor
    labels: torch.Tensor

    def take(self, numbers: torch.Tensor) -> Rows:
        """Return some rows of each instance.

        :param numbers: (S · B,) their numbers among all S · N rows, in the order of the instances.
        """
        inputs, labels = (
            part.flatten(0, 1)[numbers].view(len(part), -1, part.shape[2]) for part in (self.inputs, self.labels)
        )
        return Rows(inputs, labels)


@dataclass(frozen=True)
class Instances:
    """S instances: pairs of a setting and a seed, which decides teachers, rows, batches and first weights.

    The settings have one :attr:`Setting.shape`. An instance has the numbers of the problem ``setting.problem(seed)`` as
    ``mtlbench run`` trains it with that seed.

    :param settings: the setting of each instance.
    :param seeds: the seed of each instance.
    :param precision: "float32" or "float64".
    :param rows: the rows by split.
    :param factors: (S, K) factors of the losses.
    :param inner: (S, D, h) first weights of the shared layer; the last row is the bias.
    :param outer: (S, K, h) first weights of the heads.
    """

    settings: Sequence[Setting]
    seeds: Sequence[int]
    precision: str
    rows: dict[str, Rows]
    factors: torch.Tensor
    inner: torch.Tensor
    outer: torch.Tensor

    @classmethod
    def of(cls, pairs: Sequence[tuple[Setting, int]], precision: str = "float32") -> Instances:
        """Draw the instances.

        :param pairs: settings of one shape, and seeds.
        :param precision: "float32" or "float64".
        :raises UsageError: for a seed out of its range.
        """
        problems = [setting.problem(seed, precision) for setting, seed in pairs]
        data = [problem.load(None).splits for problem in problems]
        rows = {split: _stacked([splits[split] for splits in data]) for split in SPLITS}
        factors = torch.from_numpy(np.stack([spread(problem.loss_ratio, problem.tasks) for problem in problems]))
        firsts = [_first_weights(problem, seed) for problem, (_, seed) in zip(problems, pairs, strict=True)]
        inner, outer = (torch.stack(parts) for parts in zip(*firsts, strict=True))
        settings, seeds = zip(*pairs, strict=True)
        return cls(settings, seeds, precision, rows, factors, inner, outer)

    def __len__(self) -> int:
        return len(self.settings)

    @property
    def setting(self) -> Setting:
        """The first instance's setting, which stands for the shape of all."""
        return self.settings[0]

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch knows it."""
        return self.inner.dtype

    @cached_property
    def _numbers(self) -> torch.Tensor:
        """(steps, S · B) numbers of each step's rows among all instances' training rows."""
        return self.numbers(0, self.setting.steps)

    def numbers(self, number: int, steps: int) -> torch.Tensor:
        """Return the numbers of the rows of the first steps' batches, among all S · N training rows.

        :param number: 0 for the batches of the update; 1 and 2 for further, independent batches.
        :param steps: how many steps.
        :returns: (steps, S · B) numbers.
        """
        rows, batch = self.setting.rows, self.setting.batch
        drawn = {seed: batch_schedule(seed, SHARED, rows, steps * batch, number) for seed in set(self.seeds)}
        found = [drawn[seed].reshape(steps, batch) + rows * place for place, seed in enumerate(self.seeds)]
        return torch.from_numpy(np.concatenate(found, axis=1))

    def batch(self, step: int) -> Rows:
        """Return the rows of a step's update.

        :param step: the step, from 0.
        """
        return self.rows["train"].take(self._numbers[step])


def _stacked(examples: Sequence[Examples]) -> Rows:
    inputs = np.stack([part.inputs for part in examples])
    bias = np.ones((*inputs.shape[:2], 1), inputs.dtype)
    labels = np.stack([np.stack(list(part.labels.values()), axis=1) for part in examples])
    single: NDArray[np.float32] = labels.astype(np.float32)  # as the trainer's losses have them
    return Rows(torch.from_numpy(np.concatenate([inputs, bias], axis=2)), torch.from_numpy(single.astype(inputs.dtype)))


def _first_weights(problem: Regimes, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the (D, h) weights of the shared layer and the (K, h) weights of the heads."""
    model = Hooks(problem, problem.targets()).model(seed, torch.device("cpu"))
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    heads = [state[f"heads.{target.name}.weight"] for target in problem.targets()]
    return torch.cat([state["trunk.0.weight"].T, state["trunk.0.bias"][None]]), torch.cat(heads)

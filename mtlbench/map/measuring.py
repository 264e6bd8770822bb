"""Early measurements of the plain sum, which the doctor's advice is based on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from mtlbench.map.cells import Array, Features
from mtlbench.map.family import Instances, Rows
from mtlbench.map.group import Group
from mtlbench.map.network import errors, forward, inner_products, task_gradients

FEATURE_STEP = 40
"""Optimizer steps after which the plain sum is measured."""
AVERAGED = 10
"""Steps whose batch losses are averaged, at the start and before the measurement."""


@dataclass
class Measuring:
    """The measurements of one group, collected while it is trained.

    :param instances: the instances.
    :param group: the group of the plain sum's columns.
    """

    instances: Instances
    group: Group
    _start: list[Array] = field(default_factory=list)
    _recent: list[Array] = field(default_factory=list)
    _products: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = [place for place, column in enumerate(self.group.columns) if column.is_plain_sum]
        """The columns of the plain sum among the group's."""

    def after(self, step: int) -> None:
        """Read what there is to read.

        :param step: the step just taken, from 0.
        """
        if not self.places or step >= FEATURE_STEP:
            return
        losses = self.group.losses[:, :, self.places]  # a copy
        if step < AVERAGED:
            self._start.append(losses)
        if step >= FEATURE_STEP - AVERAGED:
            self._recent.append(losses)
        if step + 1 == FEATURE_STEP < self.instances.setting.steps:
            self._measure()

    def result(self) -> Features | None:
        """Return the measurements, with the axis of instances in place of those of settings and seeds.

        :returns: ``None`` if there were too few steps, or no column is a plain sum.
        """
        if not self._products:
            return None
        start, recent = (np.mean(losses, axis=0).swapaxes(1, 2) for losses in (self._start, self._recent))
        columns = np.array([self.group.positions[place] for place in self.places])
        return Features(columns, FEATURE_STEP, start=start, losses=recent, **self._products)

    def _measure(self) -> None:
        instances = self.instances
        second = instances.rows["train"].take(instances.numbers(1, FEATURE_STEP + 1)[-1])
        first, other, full = (
            self._gradients(rows) for rows in (instances.batch(FEATURE_STEP), second, instances.rows["train"])
        )
        pairs = {"gram": (first, first), "second_gram": (other, other), "cross_gram": (first, other)}
        pairs["full_gram"] = (full, full)
        self._products = {name: inner_products(*pair).numpy() for name, pair in pairs.items()}

    def _gradients(self, rows: Rows) -> torch.Tensor:
        networks, instances = self.group.networks, self.instances
        inner, outer = (part[..., self.places] for part in (networks.inner, networks.outer))
        units, outputs = forward(rows.inputs, inner, outer)
        _, gradients = errors(outputs, rows.labels, instances.factors.to(instances.dtype))
        return task_gradients(rows.inputs, gradients, units, outer)


def joined(parts: Sequence[Features], settings: int, seeds: int) -> Features:
    """Return the measurements of blocks of instances as those of settings × seeds.

    :param parts: measurements of the same columns, each with one axis of instances.
    :param settings: the number of settings.
    :param seeds: the number of seeds of each.
    """
    names = ("start", "losses", "gram", "second_gram", "cross_gram", "full_gram")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    shaped = {name: array.reshape(settings, seeds, *array.shape[1:]) for name, array in arrays.items()}
    return Features(parts[0].columns, parts[0].step, **shaped)

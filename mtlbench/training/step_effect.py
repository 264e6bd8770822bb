"""The effect of an optimizer step: how far the parameters moved, and how the losses of its own batches changed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypedDict

import torch

from mtlbench.contract.observation import Vector

MOST = 5
"""Most steps of a run that are probed: each costs three forward passes, outside of the step's time."""


def is_probed(step: int, steps: int, measure_every: int) -> bool:
    """Whether a step is probed: some of the measured steps are, evenly spaced.

    :param step: the step, from 1.
    :param steps: steps of the run.
    :param measure_every: steps from one measured step to the next.
    """
    every = -(-(steps // measure_every) // MOST)
    return every > 0 and step % (measure_every * every) == 0


class Effect(TypedDict, total=False):
    """Fields of a history's row: norms of the shared parameters' change and of themselves, and losses by task."""

    moved: float
    size: float
    half: dict[str, float]
    after: dict[str, float]
    next: dict[str, float]


class Probe:
    """Measurement of one optimizer step: create it before the step, and read it after.

    :param shared: the trained shared parameters, whose path is measured.
    :param trained: all trained parameters, for the losses half-way.
    """

    def __init__(self, shared: Sequence[torch.Tensor], trained: Sequence[torch.Tensor]) -> None:
        self._shared, self._trained = list(shared), list(trained)
        self._before = {id(parameter): parameter.detach().clone() for parameter in self._trained}

    @torch.no_grad()
    def read(self, losses: Callable[[], Vector], following: Callable[[], Vector] | None, keys: Sequence[str]) -> Effect:
        """Return the fields of a history's row; the parameters are the same afterwards, to the last bit.

        :param losses: returns the (K,) losses of the step's batches, with its dropout masks, at the current parameters.
        :param following: returns the losses of the next step's batches, if there is a next step.
        :param keys: keys of the K tasks.
        :returns: ``moved`` and ``size``, the norms of the shared parameters' change and of themselves; ``half`` and
            ``after``, losses by task half-way along the step and after it; ``next``, losses of the next step's
            batches before this step. After it, they are the next row's own.
        """

        def by_task(losses: Callable[[], Vector]) -> dict[str, float]:
            return dict(zip(keys, _losses(losses).tolist(), strict=True))

        changes = [self._before[id(p)].sub_(p) for p in self._trained]  # in place: new memory would cost time
        moved, size = _norm([self._before[id(parameter)] for parameter in self._shared]), _norm(self._shared)
        effect: Effect = {"moved": moved, "size": size, "after": by_task(losses)}
        reached = [parameter.detach().clone() for parameter in self._trained]
        try:
            self._back(changes)
            effect["half"] = by_task(losses)
            if following is not None:
                self._back(changes)
                effect["next"] = by_task(following)
        finally:  # also when a loss half-way is not finite, or memory is short
            for parameter, value in zip(self._trained, reached, strict=True):
                parameter.copy_(value)
        return effect

    def _back(self, changes: Sequence[torch.Tensor]) -> None:
        """Go half the step back."""
        for parameter, back in zip(self._trained, changes, strict=True):
            parameter.add_(back, alpha=0.5)


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return math.hypot(*(float(torch.linalg.vector_norm(tensor)) for tensor in tensors))


def _losses(losses: Callable[[], Vector]) -> Vector:
    with torch.enable_grad():  # as :meth:`mtlbench.text.engines.Inputs.losses_after` needs it
        return losses()

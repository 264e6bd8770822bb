"""Which steps ask the method for weights, and the weights that the steps in between use again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mtlbench.contract.method import Method
from mtlbench.contract.numbers import as_numbers
from mtlbench.contract.observation import Vector
from mtlbench.errors import UsageError
from mtlbench.surgery.arguments import count


class Renewal:
    """The steps taken so far, and the last weights.

    :param method: the method.
    :param every: the number of steps between two requests for weights.
    :raises UsageError: when it is no whole number of at least 1, or the method has no weights to use again.
    """

    def __init__(self, method: Method, every: Any) -> None:
        self.every = count("renew_every", every)
        if self.every > 1 and method.returns == "update":
            raise UsageError(f"method {method.name} returns an update, not weights: it cannot be used with renew_every")
        self._steps = 0
        self._last: tuple[Sequence[int], Vector] | None = None

    def weights(self, tasks: Sequence[int]) -> Vector | None:
        """Return the weights to use again, or ``None`` where the method is to be asked.

        :param tasks: positions of the tasks that are present; others than last time need new weights.
        """
        if self._last is None or self._steps % self.every == 0 or self._last[0] != tasks:
            return None
        return self._last[1]

    def record(self, tasks: Sequence[int], weights: Vector | None, *, complete: bool) -> None:
        """Record a call.

        :param tasks: positions of the tasks that are present.
        :param weights: their weights, if there are any.
        :param complete: whether an optimizer step follows.
        """
        self._last = self._last if weights is None else (tasks, weights)
        self._steps += complete

    def state_dict(self) -> dict[str, Any]:
        """Return the steps and the weights, in numbers and lists."""
        last = None if self._last is None else [list(self._last[0]), self._last[1].tolist()]
        return {"steps": self._steps, "renewed": last}

    def parsed(self, state: Any) -> tuple[int, tuple[list[int], Vector] | None]:
        """Return the steps and the weights of a saved state, for :meth:`restore`.

        :param state: a mapping with the entries of :meth:`state_dict`.
        :raises UsageError: when they are something else.
        """
        steps, last = state["steps"], state["renewed"]
        fault = UsageError("the state is not one that Surgery.state_dict() returned")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise fault
        if last is None:
            return steps, None
        if not isinstance(last, list | tuple) or len(last) != 2 or not isinstance(last[0], list):
            raise fault
        positions, weights = last[0], as_numbers(last[1], "the state's weights")
        valid = all(type(position) is int for position in positions) and weights.shape == (len(positions),)
        if not valid or not np.isfinite(weights).all():
            raise fault
        return steps, (positions, weights)

    def restore(self, steps: int, last: tuple[list[int], Vector] | None) -> None:
        """Go on from a saved state.

        :param steps: see :meth:`parsed`.
        :param last: see there.
        """
        self._steps, self._last = steps, last

"""Checks before the first cell starts: do methods suit the tasks?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.spec import parse_spec
from mtlbench.errors import UsageError

LOSS = 1000.0
"""Loss of every task in the trial step of a method: above any bound that a method may have."""


def check_methods(methods: Sequence[Method], tasks: int) -> None:
    """Try every method on one step, which shows whether parameters that count or number tasks fit.

    Of a user's method only :attr:`mtlbench.contract.method.Method.min_tasks` is checked: its code might end or block
    this process, so it runs only in cells.

    :param methods: the methods of a grid.
    :param tasks: number of tasks.
    :raises UsageError: the method's own, when it is not defined for so many tasks.
    """
    for method in methods:
        _try(type(method), method.spec, tasks if method.joint else 1)  # type: ignore[arg-type]  # a class can be hashed


@cache  # tuning plans the same cells many times
def _try(cls: Any, spec: str, tasks: int) -> None:
    method: Method = cls.make(parse_spec(spec)[1])  # a new object: its state is discarded
    observation = observe(method, **_step(method, tasks))
    if not all(part.__module__.startswith("mtlbench.") for part in getattr(cls, "parts", ()) or (cls,)):
        return
    try:
        method.update(observation) if method.returns == "update" else method.weights(observation)
    except UsageError:
        raise
    except Exception:  # the gradients here are artificial: faults on real ones show in cells
        return


def _step(method: Method, tasks: int) -> dict[str, Any]:
    """Return the input of a method for a step in which all gradients are orthogonal."""
    step: dict[str, Any] = {"losses": np.full(tasks, LOSS)}
    if method.reads == "gradients":
        import torch

        return {**step, "gradients": torch.eye(tasks)}
    return step if method.reads == "losses" else {**step, method.reads: np.eye(tasks)}

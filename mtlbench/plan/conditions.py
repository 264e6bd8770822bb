"""What is known to fail in every cell before the first one starts: methods and tasks, recipe and model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.spec import parse_spec
from mtlbench.errors import UsageError
from mtlbench.plan.suite import Recipe
from mtlbench.text.model_trial import Traits

LOSS = 1000.0
"""Of every task, in the step that a method is asked about: above any bound that a method may have."""


def check_methods(methods: Sequence[Method], tasks: int) -> None:
    """Ask every method about a step of so many tasks: parameters that count or number the tasks show whether they fit.

    Of a method that is not ours only :attr:`mtlbench.contract.method.Method.min_tasks` is read: its code might end or
    hold up this process, and runs in cells alone.

    :raises UsageError: the method's own, where it is not defined for them.
    """
    for method in methods:
        _ask(type(method), method.spec, tasks if method.joint else 1)  # type: ignore[arg-type]  # a class can be hashed


@cache  # tuning plans the same cells again and again
def _ask(cls: Any, spec: str, tasks: int) -> None:
    method: Method = cls.make(parse_spec(spec)[1])  # with a state of its own, which is thrown away
    seen = observe(method, **_step(method, tasks))
    if not all(part.__module__.startswith("mtlbench.") for part in getattr(cls, "parts", ()) or (cls,)):
        return
    try:
        method.update(seen) if method.returns == "update" else method.weights(seen)
    except UsageError:
        raise
    except Exception:  # a fault of the method on gradients that are not real: its cells tell of real ones
        return


def _step(method: Method, tasks: int) -> dict[str, Any]:
    """Return what a method reads of a step in which all gradients are orthogonal."""
    step: dict[str, Any] = {"losses": np.full(tasks, LOSS)}
    if method.reads == "gradients":
        import torch

        return {**step, "gradients": torch.eye(tasks)}
    return step if method.reads == "losses" else {**step, method.reads: np.eye(tasks)}


def check_recipe(recipe: Recipe, traits: Traits) -> None:
    """Compare how cells are to be computed with what the model can.

    :raises UsageError: when they would fail for it.
    """
    if recipe.engine in ("packed", "lean") and traits.unpacked is not None:
        raise UsageError(f"engine={recipe.engine} is not possible: {traits.unpacked}; use engine=auto or loop")
    if recipe.accumulate > 1 and (recipe.engine == "loop" or traits.unpacked is not None):
        raise UsageError(f"accumulate needs the packed engine, not the loop ({traits.unpacked or 'asked for'})")
    if recipe.checkpointing and not traits.recomputes:
        raise UsageError("checkpointing is not possible: transformers knows no layers of this encoder to recompute")

"""What a method answers to an observation, checked here, where the culprit is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mtlbench.contract.observation import Observation, Vector
from mtlbench.errors import CellError

if TYPE_CHECKING:
    import torch

    from mtlbench.contract.method import Method


def ask_weights(method: Method, seen: Observation) -> Vector:
    """Return a method's (K,) weights.

    :raises CellError: naming the method, when they are not K finite numbers.
    """
    weights = np.asarray(method.weights(seen), dtype=np.float64)
    if weights.shape != (seen.tasks,) or not np.isfinite(weights).all():
        raise CellError(f"method {method.name} returned weights {weights.tolist()}, not {seen.tasks} finite numbers")
    return weights


def ask_update(method: Method, seen: Observation) -> torch.Tensor:
    """Return the (P,) shared update of a method that returns one.

    :raises CellError: naming the method, when it is not P finite numbers in a torch tensor.
    """
    import torch

    update, size = method.update(seen), seen.gradients.shape[1]
    if not isinstance(update, torch.Tensor):
        raise CellError(f"method {method.name} returned an update that is no torch tensor: {type(update).__name__}")
    if update.shape != (size,):
        raise CellError(f"method {method.name} returned an update of shape {tuple(update.shape)}, not ({size},)")
    if not bool(torch.isfinite(update).all()):
        raise CellError(f"method {method.name} returned an update that is not finite")
    return update

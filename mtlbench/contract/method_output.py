"""What a method answers to an observation, checked here, where the culprit is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mtlbench.contract.observation import Observation, Vector
from mtlbench.errors import CellError, SolverError, UsageError, is_out_of_memory, said, shown

if TYPE_CHECKING:
    import torch

    from mtlbench.contract.method import Method


def ask_weights(method: Method, seen: Observation) -> Vector:
    """Return a method's (K,) weights.

    :raises CellError: naming the method, when they are not K finite numbers, or when it raises what is not our own.
    """
    given = _asked(method, method.weights, seen)
    try:
        kind = np.asarray(given).dtype.kind
        weights = np.asarray(given, dtype=np.float64) if kind in "biufO" else None
    except (TypeError, ValueError, RuntimeError):  # of ragged lists; of torch tensors with a graph, or on a GPU
        weights = None
    if weights is None or weights.shape != (seen.tasks,) or not np.isfinite(weights).all():
        told = shown(given) if weights is None or given is None else weights.tolist()
        raise CellError(f"method {method.name} returned weights {told}, not {seen.tasks} finite numbers")
    return weights


def ask_update(method: Method, seen: Observation) -> torch.Tensor:
    """Return the (P,) shared update of a method that returns one.

    :raises CellError: naming the method, when it is not P finite numbers in a torch tensor, or when it raises what is
        not our own.
    """
    import torch

    update: Any = _asked(method, method.update, seen)
    size = seen.gradients.shape[1]
    if not isinstance(update, torch.Tensor):
        raise CellError(f"method {method.name} returned an update that is no torch tensor: {type(update).__name__}")
    if update.shape != (size,):
        raise CellError(f"method {method.name} returned an update of shape {tuple(update.shape)}, not ({size},)")
    if update.is_complex():
        raise CellError(f"method {method.name} returned an update of complex numbers")
    if not bool(torch.isfinite(update).all()):
        raise CellError(f"method {method.name} returned an update that is not finite")
    return update.detach()


def tell_after(method: Method, losses: Vector) -> None:
    """Tell a method the losses of the step's own batches after the optimizer moved.

    :raises CellError: naming the method, when it raises what is not our own.
    """
    _asked(method, method.after_step, losses)


def _asked(method: Method, question: Callable[[Any], Any], about: Any) -> Any:
    try:
        return question(about)
    except (UsageError, CellError, SolverError):
        raise
    except Exception as error:  # a method may fail in any way at all
        if is_out_of_memory(error):
            raise
        name = getattr(question, "__name__", "it")
        raise CellError(f"method {method.name}: {name}() raised {said(error)}") from error

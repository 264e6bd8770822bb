"""Call a method and validate its return value; failures name the method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from mtlbench.contract.method_state import Sizes
from mtlbench.contract.observation import Observation, Vector
from mtlbench.errors import CellError, SolverError, UsageError, is_out_of_memory, said, shown

if TYPE_CHECKING:
    import torch

    from mtlbench.contract.method import Method


def ask_weights(method: Method, observation: Observation) -> Vector:
    """Return a method's (K,) weights.

    :param method: a method that returns weights.
    :param observation: its validated input.
    :raises UsageError: when the method keeps state for another number of tasks.
    :raises CellError: naming the method, when it does not return K finite numbers or raises a foreign exception.
    """
    answer = _step(method, method.weights, observation)
    try:
        kind = np.asarray(answer).dtype.kind
        weights = np.asarray(answer, dtype=np.float64) if kind in "biufO" else None
    except (TypeError, ValueError, RuntimeError):  # from ragged lists; from torch tensors with a graph or on a GPU
        weights = None
    if weights is None or weights.shape != (observation.tasks,) or not np.isfinite(weights).all():
        text = shown(answer) if weights is None or answer is None else weights.tolist()
        raise CellError(f"method {method.name} returned weights {text}, not {observation.tasks} finite numbers")
    return weights


def ask_update(method: Method, observation: Observation) -> torch.Tensor:
    """Return the (P,) shared update of a method that returns one.

    :param method: a method that returns an update.
    :param observation: its validated input, with the gradients.
    :raises UsageError: when the method keeps state for another number of tasks, or for longer or shorter gradients.
    :raises CellError: naming the method, when it does not return P finite numbers in a torch tensor or raises a foreign
        exception.
    """
    import torch

    update: Any = _step(method, method.update, observation)
    size = observation.gradients.shape[1]
    if not isinstance(update, torch.Tensor):
        raise CellError(f"method {method.name} returned an update that is not a torch tensor: {type(update).__name__}")
    if update.shape != (size,):
        raise CellError(f"method {method.name} returned an update of shape {tuple(update.shape)}, not ({size},)")
    if update.is_complex():
        raise CellError(f"method {method.name} returned an update of complex numbers")
    if not bool(torch.isfinite(update).all()):
        raise CellError(f"method {method.name} returned an update that is not finite")
    return update.detach()


def tell_after(method: Method, losses: Vector) -> None:
    """Pass a method the losses of the step's own batches after the optimizer's step.

    :param method: a method that declares ``reads_after``.
    :param losses: (K,) mean losses of the tasks.
    :raises CellError: naming the method, when it raises a foreign exception.
    """
    _call(method, method.after_step, losses)


def _step(method: Method, function: Callable[[Observation], Any], observation: Observation) -> Any:
    """Call a method for one step, and remember the sizes that its state has from then on."""
    sizes = Sizes()
    if method.state != "none":
        keeps_gradients = method.state == "K × P" and method.reads == "gradients"
        sizes = Sizes(observation.tasks, observation.gradients.shape[1] if keeps_gradients else None)
    difference = method.state_sizes.difference(sizes)
    if difference is not None:
        raise UsageError(
            f"method {method.name} keeps state for {difference[0]} and was given {difference[1]}: use one method "
            "object for one set of tasks"
        )
    if sizes.numbers is not None:
        _move_state(method, observation.gradients)
    answer = _call(method, function, observation)
    method.state_sizes = sizes
    return answer


def _move_state(method: Method, gradients: torch.Tensor) -> None:
    """Move a state's tensors to the gradients' device: a state may be loaded on another one."""
    import torch

    for field in dataclasses.fields(method):
        value = getattr(method, field.name)
        if not field.init and isinstance(value, torch.Tensor) and value.device != gradients.device:
            setattr(method, field.name, value.to(gradients.device))


def _call(method: Method, function: Callable[[Any], Any], argument: Any) -> Any:
    try:
        return function(argument)
    except (UsageError, CellError, SolverError):
        raise
    except Exception as error:  # a method may raise anything
        if is_out_of_memory(error):
            raise
        name = getattr(function, "__name__", "it")
        raise CellError(f"method {method.name}: {name}() raised {said(error)}") from error

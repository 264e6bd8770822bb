"""The methods as a library: on a matrix, or on a Jacobian. In anyone's own training loop: mtlbench.engine.autograd."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mtlbench.contract.method import Method, without_trainer
from mtlbench.contract.method_input import observe
from mtlbench.contract.method_output import ask_update, ask_weights
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.errors import UsageError
from mtlbench.plugins.registry import Registry, load_registry

if TYPE_CHECKING:
    pass


@cache
def _registry() -> Registry:
    return load_registry()


def get_method(name: str, *, seed: int = 0, **parameters: Any) -> Method:
    """Make a method by name; keep it across the steps of a run, since some methods have state.

    :param name: a name, or a spec such as ``"cagrad[c=0.2]"``.
    :param seed: seed of the method's private generator.
    :param parameters: hyperparameters by name.
    :raises UsageError: for an unknown name or parameter, or a value out of range.
    """
    made = _registry().method(name)
    if parameters:
        made = type(made).make({**made.parameters, **parameters})
    made.reseed(seed)
    return without_trainer(made)


def weights(
    name: str | Method,
    gram: ArrayLike | None = None,
    *,
    losses: ArrayLike | None = None,
    cross_gram: ArrayLike | None = None,
    seed: int = 0,
    **parameters: Any,
) -> Vector:
    """Return the K weights that a method gives to K task gradients.

    :param name: a method's name or spec, or a method that :func:`get_method` made (which keeps its state).
    :param gram: (K, K) inner products of the task gradients; may be left out where losses are enough.
    :param losses: (K,) losses, for methods that read them. Where a method takes logarithms or ratios of losses, a loss
        of exactly 0 counts as 10⁻⁸ (:data:`mtlbench.contract.observation.FLOOR`); positive ones count as they are.
    :param cross_gram: (K, K) inner products between the task gradients of two independent batches, for methods that
        read those (SDMGrad, MoDo).
    :raises UsageError: for bad names or parameters, what :func:`mtlbench.contract.method_input.observe` refuses, or a
        method that reads whole gradients: see :func:`aggregate`.
    :raises SolverError: when the method's own optimality conditions are not met.
    :raises CellError: when the method returns anything but K finite numbers.
    """
    made = _made(name, seed, parameters)
    if made.reads == "gradients":
        raise UsageError(f"method {made.name} reads whole gradients, not inner products: use aggregate")
    if gram is None and losses is None and cross_gram is None:
        raise UsageError(f"method {made.name}: give gram or losses, so that there are K tasks")
    return ask_weights(made, observe(made, losses=losses, gram=gram, cross_gram=cross_gram))


def aggregate(
    name: str | Method,
    jacobian: ArrayLike,
    *,
    losses: ArrayLike | None = None,
    further: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
    **parameters: Any,
) -> Vector:
    """Return the (P,) shared update of a (K, P) matrix of task gradients, before any clipping.

    :param further: two more such matrices, from independent batches, for methods that read ``cross_gram``.

    The other arguments are those of :func:`weights`.
    """
    rows = _jacobian("jacobian", jacobian)
    made = _made(name, seed, parameters)
    if made.reads == "gradients":
        import torch

        seen = observe(made, losses=losses, gradients=torch.tensor(rows))
        return ask_update(made, seen).numpy() if made.returns == "update" else ask_weights(made, seen) @ rows
    cross = None
    if further is not None:
        one, other = (_jacobian("further", part, rows.shape) for part in further)
        cross = one @ other.T
    return ask_weights(made, observe(made, losses=losses, gram=rows @ rows.T, cross_gram=cross)) @ rows


def _jacobian(what: str, given: ArrayLike, shape: tuple[int, ...] | None = None) -> Matrix:
    rows = np.array(given, dtype=np.float64)
    if rows.ndim != 2 or rows.shape != (shape or rows.shape):
        wanted = "a K × P matrix" if shape is None else f"two matrices of the jacobian's shape {shape}"
        raise UsageError(f"{what} must be {wanted}, not of shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise UsageError(f"{what} must be finite, got {rows.tolist()}")
    return rows


def _made(name: str | Method, seed: int, parameters: dict[str, Any]) -> Method:
    if isinstance(name, str):
        return get_method(name, seed=seed, **parameters)
    if parameters:
        raise UsageError(f"{name.name} is made already: give its parameters to get_method, not here")
    return without_trainer(name)

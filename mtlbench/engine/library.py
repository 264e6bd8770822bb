"""Methods applied to a Gram matrix or a Jacobian. For your own training loop, see :mod:`mtlbench.engine.autograd`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mtlbench.contract.method import Method, without_trainer
from mtlbench.contract.method_input import DESCRIPTIONS, observe
from mtlbench.contract.method_output import ask_update, ask_weights
from mtlbench.contract.numbers import as_numbers, written
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.stacks import is_stack, stacked_weights
from mtlbench.errors import UsageError, shown
from mtlbench.plugins.registry import Registry, load_registry

VANISHING = float(np.finfo(np.float64).tiny)
"""Squared norms below this have lost digits, or are 0."""


@cache
def _registry() -> Registry:
    return load_registry()


def get_method(name: str, *, seed: int = 0, **parameters: Any) -> Method:
    """Create a method by name. Some methods have state: keep one object for all steps of a run.

    >>> import mtlbench
    >>> method = mtlbench.get_method("cagrad", c=0.2)
    >>> method.name, method.parameters["c"]
    ('cagrad', 0.2)

    :param name: a name, or a spec such as ``"cagrad[c=0.2]"``.
    :param seed: seed of the method's private random generator: any whole number.
    :param parameters: hyperparameters by name; they override those of the spec.
    :returns: a new method, ready for :func:`backward`, :func:`weights` and :func:`aggregate`.
    :raises UsageError: for an unknown name or parameter, a value out of range, or a name or seed of another type.
    """
    if isinstance(name, Method):
        raise UsageError(f"{name.name} is already a method: use it as it is, or pass its name to get_method")
    if not isinstance(name, str):
        raise _not_a_method(name)
    method = _registry().method(name)
    if parameters:
        method = type(method).make({**method.parameters, **parameters})
    method.reseed(seed)
    return without_trainer(method)


def as_method(method: str | Method, /, *, seed: int = 0, **parameters: Any) -> Method:
    """Return a method that a user passes by name or as an object.

    :param method: a name or spec, or a method from :func:`get_method`.
    :param seed: seed of the private random generator of a method given by name.
    :param parameters: hyperparameters of a method given by name.
    :raises UsageError: as :func:`get_method`; and when an object comes with a seed or parameters.
    """
    if isinstance(method, str):
        return get_method(method, seed=seed, **parameters)
    if not isinstance(method, Method):
        raise _not_a_method(method)
    if parameters:
        raise UsageError(f"{method.name} is already a method: pass its parameters to get_method instead")
    if not (isinstance(seed, int) and seed == 0):
        raise UsageError(f"{method.name} is already a method: pass the seed to get_method, or call its reseed")
    return without_trainer(method)


def _not_a_method(value: Any) -> UsageError:
    if isinstance(value, type) and issubclass(value, Method):
        name = getattr(value, "name", value.__name__)
        return UsageError(f"{value.__name__} is the class of method {name}: give an object, {value.__name__}()")
    return UsageError(f"a method is given by name, or as an object from get_method, not as {shown(value)}")


def weights(
    name: str | Method,
    gram: ArrayLike | None = None,
    *,
    losses: ArrayLike | None = None,
    cross_gram: ArrayLike | None = None,
    seed: int | ArrayLike = 0,
    **parameters: Any,
) -> NDArray[np.float64]:
    """Return the K weights that a method gives to K task gradients, or those for each of many matrices.

    Numbers may come as arrays, lists or torch tensors: of any real type, on any device, with or without a graph.

    >>> import mtlbench
    >>> mtlbench.weights("pcgrad", [[1.0, -1.0], [-1.0, 2.0]]).tolist()
    [2.0, 1.5]

    A method that keeps no state between steps takes any number of matrices at once: (…, K, K) inner products, with
    (…, K) losses where it reads them. Each row of the result is that of a call of its own, with the same check of the
    optimality conditions, at a fraction of the time:

    >>> import numpy as np
    >>> matrices = np.stack([np.eye(2), [[1.0, -1.0], [-1.0, 2.0]], [[4.0, 2.0], [2.0, 4.0]]])
    >>> mtlbench.weights("pcgrad", matrices).tolist()
    [[1.0, 1.0], [2.0, 1.5], [1.0, 1.0]]

    :param name: a method's name or spec, or a method from :func:`get_method`, which keeps its state between calls.
    :param gram: (K, K) or (…, K, K) inner products of the task gradients; optional where the losses suffice.
    :param losses: (K,) or (…, K) losses, for methods that read them. Where a method takes logarithms or ratios of
        losses, a loss of exactly 0 counts as 10⁻⁸ (:data:`mtlbench.contract.observation.FLOOR`); positive losses are
        not changed.
    :param cross_gram: (K, K) inner products between the task gradients of two independent batches, for SDMGrad and
        MoDo.
    :param seed: seed of the private random generator of a method given by name; for many matrices also one seed for
        each, of the leading shape. With one seed, a method that draws random numbers draws the same for all matrices.
        An object that draws is called for each matrix in turn.
    :param parameters: hyperparameters of a method given by name.
    :returns: (K,) or (…, K) weights in float64.
    :raises UsageError: for an unknown name or parameter, for input that
        :func:`mtlbench.contract.method_input.observe` rejects, or for a method that reads whole gradients: pass those
        to :func:`aggregate`; for many matrices, also for a method that keeps state between steps.
    :raises SolverError: when a solution fails the method's own optimality conditions. Of many matrices, the message
        names the first that fails, such as ``gram[2, 5]``.
    :raises CellError: when the method does not return K finite numbers.
    """
    own = isinstance(name, Method)
    several = not own and isinstance(seed, Sequence | np.ndarray) and not isinstance(seed, str)
    method = as_method(name, seed=0 if several else seed, **parameters)  # type: ignore[arg-type]  # checked there
    if method.reads == "gradients":
        raise UsageError(f"method {method.name} reads whole gradients, not inner products: use aggregate")
    if gram is None and losses is None and cross_gram is None:
        raise UsageError(f"method {method.name}: give gram or losses, so that there are K tasks")
    losses = None if losses is None else as_numbers(losses, f"method {method.name}: losses")
    gram = None if gram is None else as_numbers(gram, f"method {method.name}: gram")
    if cross_gram is None and is_stack(losses, gram):
        return stacked_weights(method, losses, gram, seed, own)
    if several:
        raise UsageError(f"method {method.name}: the seed must be a whole number, not {shown(seed)}")
    return ask_weights(method, observe(method, losses=losses, gram=gram, cross_gram=cross_gram))


def aggregate(
    name: str | Method,
    jacobian: ArrayLike,
    *,
    losses: ArrayLike | None = None,
    further: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
    **parameters: Any,
) -> Vector:
    """Return a method's update of the shared parameters, before any clipping, for given task gradients.

    Numbers may come in the same forms as for :func:`weights`; ``[gradient_of_a, gradient_of_b]`` is a jacobian, too.

    >>> import mtlbench
    >>> mtlbench.aggregate("pcgrad", [[1.0, 0.0], [-1.0, 1.0]]).tolist()
    [0.5, 1.5]

    :param name: a method's name or spec, or a method from :func:`get_method`, which keeps its state between calls.
    :param jacobian: (K, P) task gradients, one row per task.
    :param losses: (K,) losses, for methods that read them; see :func:`weights`.
    :param further: two more (K, P) matrices, from independent batches, for SDMGrad and MoDo.
    :param seed: seed of the private random generator of a method given by name.
    :param parameters: hyperparameters of a method given by name.
    :returns: (P,) update in float64.
    :raises UsageError: for an unknown name or parameter, for input that
        :func:`mtlbench.contract.method_input.observe` rejects, or for gradients so short or long that their squares are
        beyond double precision.
    :raises SolverError: when a solution fails the method's own optimality conditions.
    :raises CellError: when the method does not return K finite weights, or P finite numbers as its update.
    """
    rows = _jacobian("jacobian", jacobian)
    method = as_method(name, seed=seed, **parameters)
    if method.reads == "gradients":
        import torch

        observation = observe(method, losses=losses, gradients=torch.tensor(rows))
        if method.returns == "update":
            return ask_update(method, observation).numpy()
        return ask_weights(method, observation) @ rows
    cross_gram = None if further is None else _cross_gram(further, rows.shape)
    if method.reads == "cross_gram" and cross_gram is None:
        raise UsageError(
            f"method {method.name} reads {DESCRIPTIONS['cross_gram']}: give further, two more matrices; or call "
            "weights, and give cross_gram"
        )
    gram = _products("jacobian", rows, rows)
    vanished = (np.diagonal(gram) < VANISHING) & rows.any(axis=1)
    if method.reads == "gram" and vanished.any():
        row = int(np.argmax(vanished))
        raise UsageError(f"jacobian: row {row} is so short that its square vanishes in double precision; scale it up")
    return ask_weights(method, observe(method, losses=losses, gram=gram, cross_gram=cross_gram)) @ rows


def _cross_gram(further: tuple[ArrayLike, ArrayLike], shape: tuple[int, ...]) -> Matrix:
    try:
        first, second = further
    except (TypeError, ValueError):
        raise UsageError(f"further must be two matrices of the jacobian's shape {shape}") from None
    return _products("further", _jacobian("further", first, shape), _jacobian("further", second, shape))


def _products(argument: str, first: Matrix, second: Matrix) -> Matrix:
    with np.errstate(over="ignore", invalid="ignore"):
        products: Matrix = first @ second.T
    if not np.isfinite(products).all():
        raise UsageError(f"{argument}: the inner products of its rows overflow double precision; scale the gradients")
    return products


def _jacobian(argument: str, matrix: ArrayLike, shape: tuple[int, ...] | None = None) -> Matrix:
    rows = np.array(as_numbers(matrix, argument))  # a copy: a method may keep or change it
    if rows.ndim != 2 or rows.shape != (shape or rows.shape):
        expected = "a K × P matrix" if shape is None else f"two matrices of the jacobian's shape {shape}"
        raise UsageError(f"{argument} must be {expected}, not of shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise UsageError(f"{argument} must be finite, got {written(rows)}")
    return rows

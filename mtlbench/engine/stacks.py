"""A method's weights for a stack of Gram matrices or of losses, each as in a call of its own."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtlbench.batched import batched, has_form
from mtlbench.contract.method import Method
from mtlbench.contract.method_input import observe
from mtlbench.contract.method_output import ask_weights
from mtlbench.errors import CellError, SolverError, UsageError, shown

Numbers = NDArray[np.float64]


def is_stack(losses: Numbers | None, gram: Numbers | None) -> bool:
    """Return whether losses or inner products have more dimensions than those of one set of task gradients.

    :param losses: the losses, if given.
    :param gram: the inner products, if given.
    """
    return (losses is not None and losses.ndim > 1) or (gram is not None and gram.ndim > 2)


def stacked_weights(method: Method, losses: Numbers | None, gram: Numbers | None, seed: Any, own: bool) -> Numbers:
    """Return the weights for each matrix of a stack.

    :param method: a method that keeps no state between steps.
    :param losses: (…, K) losses.
    :param gram: (…, K, K) inner products, of the same leading shape.
    :param seed: one seed for all matrices, or one for each.
    :param own: whether the method is the caller's own object: if it draws random numbers, it is called for each matrix
        in turn, so that it draws on.
    :returns: (…, K) weights.
    :raises UsageError: when the method keeps state, or the shapes do not fit; and, as the next two, for the first
        matrix that fails, which the message names.
    :raises SolverError: when a solution fails the method's own optimality conditions.
    :raises CellError: when the method does not return K finite numbers.
    """
    shape, tasks = _shape(method, losses, gram)
    count = math.prod(shape)
    alone = own and not has_form(method)
    form = batched(method, [] if alone else _seeds(method, seed, shape))
    if not form.stateless:
        raise UsageError(
            f"method {method.name} keeps state between steps, so each matrix needs a method of its own: give one "
            "matrix at a time, each to its own object from get_method, or use mtlbench.batched.batched"
        )
    if not count:
        return np.empty((*shape, tasks))
    rows = None if losses is None else losses.reshape(count, tasks)
    matrices = None if gram is None else gram.reshape(count, tasks, tasks)
    if alone or (own and form.draws):
        weights, failures = _in_turn(method, rows, matrices)
    else:
        weights, failures = form.weights(rows, matrices), form.failures
    if failures:
        first = min(failures)
        place = ", ".join(str(int(index)) for index in np.unravel_index(first, shape))
        name = "losses" if gram is None else "gram"
        error = failures[first]
        raise type(error)(f"{name}[{place}]: {error}") from error
    return weights.reshape(*shape, tasks)


def _shape(method: Method, losses: Numbers | None, gram: Numbers | None) -> tuple[tuple[int, ...], int]:
    """Return the leading shape and K."""
    if gram is not None and (gram.ndim < 3 or gram.shape[-1] != gram.shape[-2]):
        what = "K × K matrices, as many as there are rows of losses" if gram.ndim < 3 else "K × K matrices"
        raise UsageError(f"method {method.name}: gram must be {what}, got shape {gram.shape}")
    shapes = [values.shape for values in (losses, None if gram is None else gram[..., 0]) if values is not None]
    if len(set(shapes)) > 1:
        raise UsageError(
            f"method {method.name}: losses of shape {shapes[0]} do not fit gram: give (…, K) losses, one row per matrix"
        )
    return shapes[0][:-1], shapes[0][-1]


def _seeds(method: Method, seed: Any, shape: tuple[int, ...]) -> Sequence[int]:
    if isinstance(seed, numbers.Integral):
        return [int(seed)] * math.prod(shape)
    seeds = np.asarray(seed)
    if seeds.dtype.kind not in "iu" or seeds.shape != shape:
        raise UsageError(
            f"method {method.name}: the seed must be a whole number, or one for each matrix, of shape {shape}, "
            f"not {shown(seed)}"
        )
    return [int(number) for number in seeds.ravel()]


def _in_turn(method: Method, losses: Numbers | None, gram: Numbers | None) -> tuple[Numbers, dict[int, Exception]]:
    """Return the weights that one object gives to each matrix in turn, until one fails."""
    rows: list[Numbers] = []
    for problem in range(len(losses if gram is None else gram)):  # type: ignore[arg-type]
        own_losses = None if losses is None else losses[problem]
        own_gram = None if gram is None else gram[problem]
        try:
            rows.append(ask_weights(method, observe(method, losses=own_losses, gram=own_gram)))
        except (UsageError, SolverError, CellError) as error:
            return np.empty(0), {problem: error}
    return np.array(rows), {}

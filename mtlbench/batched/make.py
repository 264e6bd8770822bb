"""Find the batched form of a method."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from functools import cache

from mtlbench.batched.base import Batched
from mtlbench.batched.forms import FORMS
from mtlbench.batched.one_by_one import OneByOne
from mtlbench.contract.method import Method
from mtlbench.contract.wrapper import Wrapper
from mtlbench.errors import UsageError

FAMILIES = (
    "averages",
    "bargains",
    "cones",
    "controls",
    "draws",
    "histories",
    "hulls",
    "learned",
    "loss_weights",
    "projections",
    "selection",
    "spectra",
    "sums",
    "wrappers",
)
"""Modules of this package that register forms on import."""


def batched(method: Method, seeds: Sequence[int]) -> Batched:
    """Return a method on B independent problems.

    >>> import numpy as np
    >>> from mtlbench import get_method
    >>> from mtlbench.batched import batched
    >>> two = batched(get_method("si"), seeds=[0, 0])
    >>> two.weights(losses=np.array([[0.5, 2.0], [1.0, 4.0]])).tolist()
    [[2.0, 0.5], [1.0, 0.25]]

    :param method: the method with its parameters, such as ``mtlbench.get_method("cagrad[c=0.2]")``.
    :param seeds: the seed of each problem's random generator; B is their number.
    :returns: the form that is registered for the method's class, or :class:`OneByOne`.
    :raises UsageError: for a method that reads more than losses and inner products of one batch.
    """
    if method.reads not in ("losses", "gram") or method.returns != "weights":
        raise UsageError(
            f"method {method.name} reads {method.reads}; only methods that read losses or gram work on many problems "
            "at once"
        )
    return form(method)(method, seeds)


def has_form(method: Method) -> bool:
    """Return whether a method has a batched form, so that it need not be called once per problem.

    :param method: the method.
    """
    return form(method) is not OneByOne


def form(method: Method) -> type[Batched]:
    """Return the class of a method's batched form; that of a wrapped method where wrapper and inner method have one.

    :param method: the method.
    """
    _register()
    parts = _parts(type(method))
    return FORMS[parts[0]] if all(part in FORMS for part in parts) else OneByOne


def _parts(cls: type[Method]) -> list[type[Method]]:
    """Return the class of a method, or those of all wrappers around the inner method, and its own last."""
    if issubclass(cls, Wrapper) and cls.parts:
        return [cls.parts[0], *_parts(cls.parts[1])]
    return [cls]


@cache
def _register() -> None:
    for family in FAMILIES:
        importlib.import_module(f"mtlbench.batched.{family}")

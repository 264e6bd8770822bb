"""Undo a step that fails: the next good step is as if the failed call had not happened."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from mtlbench.contract.method import Method
from mtlbench.engine.step import NotFinite
from mtlbench.errors import UsageError
from mtlbench.surgery.gradient_step import GradientStep


@contextmanager
def undone_on_error(method: Method, collected: GradientStep) -> Iterator[None]:
    """Put a method back into its state, and drop collected micro-batches, if the body raises anything.

    A state of K × P numbers is not copied, as that would take the memory of K more rows: the error says so.

    :param method: the method that the body may ask.
    :param collected: the micro-batches that the body adds to.
    """
    large = method.state == "K × P"
    saved = None if large else _state(method)
    try:
        yield
    except BaseException as error:
        if saved is not None:
            _restore(method, saved)
        elif not isinstance(error, UsageError | NotFinite):  # those are raised before the method is asked
            _append(error, f"the state of {method.name} may have changed: load a saved one, or start anew")
        if collected.restart():
            _append(error, f"the next call is micro-batch 1 of {collected.accumulate} again")
        raise


def _names(method: Method) -> set[str]:
    """Return the names of all attributes of an object that are no hyperparameters."""
    return set(vars(method)) - {field.name for field in dataclasses.fields(method) if field.init}


def _state(method: Method) -> dict[str, Any]:
    return {name: _copy(getattr(method, name)) for name in _names(method)}


def _restore(method: Method, saved: dict[str, Any]) -> None:
    for name in _names(method) - set(saved):
        delattr(method, name)
    for name, value in saved.items():
        present = getattr(method, name, None)
        if isinstance(present, np.random.Generator) and isinstance(value, dict):
            present.bit_generator.state = value
        else:
            setattr(method, name, value)


def _copy(value: Any) -> Any:
    if isinstance(value, np.random.Generator):  # a hundred times faster than a copy of the object
        return value.bit_generator.state
    try:
        return copy.deepcopy(value)
    except Exception:  # an object of the author's that cannot be copied
        return value


def _append(error: BaseException, sentence: str) -> None:
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}; {sentence}",)
    else:
        error.add_note(sentence)

"""Undo a step that fails: the next good step is as if the failed call had not happened."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
            for name in _names(method) - set(saved):
                delattr(method, name)
            for name, value in saved.items():
                setattr(method, name, value)
        elif not isinstance(error, UsageError | NotFinite):  # those are raised before the method is asked
            _append(error, f"the state of {method.name} may have changed: load a saved one, or start anew")
        if collected.restart():
            _append(error, f"the {collected.accumulate} micro-batches of this step start again with the next call")
        raise


def _names(method: Method) -> set[str]:
    """Return the names of all attributes of an object that are no hyperparameters."""
    return set(vars(method)) - {field.name for field in dataclasses.fields(method) if field.init}


def _state(method: Method) -> dict[str, Any]:
    result = {}
    for name in _names(method):
        value = getattr(method, name)
        try:
            result[name] = copy.deepcopy(value)
        except Exception:  # an object of the author's that cannot be copied
            result[name] = value
    return result


def _append(error: BaseException, sentence: str) -> None:
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (f"{error.args[0]}; {sentence}",)
    else:
        error.add_note(sentence)

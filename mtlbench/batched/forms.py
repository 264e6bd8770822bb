"""The registered batched forms of methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mtlbench.batched.base import Batched
from mtlbench.contract.method import Method

FORMS: dict[type[Method], type[Batched]] = {}
"""Class of a method → its batched form. A subclass of the method needs a form of its own."""

Form = TypeVar("Form", bound=type[Batched])


def form_of(*methods: type[Method]) -> Callable[[Form], Form]:
    """Return a decorator that registers a class as the batched form of methods, here or in a plugin file.

    :param methods: the classes of the methods.
    """

    def register(form: Form) -> Form:
        FORMS.update(dict.fromkeys(methods, form))
        return form

    return register

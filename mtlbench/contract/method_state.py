"""The state of a method in values that ``torch.load(..., weights_only=True)`` accepts, and back, to the last bit."""

from __future__ import annotations

import copy
import dataclasses
from collections import deque
from typing import Any

import numpy as np

from mtlbench.contract.plugin import Plugin
from mtlbench.errors import UsageError, said, shown

IDENTITY = "state of"
"""Member of a state that holds the method's name and the sizes of the state. No field can have this name."""
ARRAY, SCALAR, DEQUE = "numpy array", "numpy scalar", "deque"
"""Members of the dicts that stand for values of these types."""


def portable(value: Any) -> Any:
    """Return a copy in tensors, numbers, texts and plain containers.

    A value of another type is copied as it is: the writer of a file says which place it cannot hold.

    :param value: a member of a method's state. Dataclasses become dicts of their fields.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: portable(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return _portable_array(value)
    if type(value) in (list, tuple, set):
        return type(value)(map(portable, value))
    if type(value) is deque:
        return {DEQUE: [portable(item) for item in value], "longest": value.maxlen}
    if type(value) is dict:
        return {key: portable(item) for key, item in value.items()}
    return copy.deepcopy(value)


def _portable_array(value: Any) -> Any:
    import torch

    try:
        tensor = torch.from_numpy(np.array(value))  # a copy in the same order of memory
    except (TypeError, ValueError):  # texts, objects and dates have no tensor
        return copy.deepcopy(value)
    return {SCALAR if isinstance(value, np.generic) else ARRAY: tensor}


def restored(value: Any) -> Any:
    """Return a copy of the value that :func:`portable` converted. NumPy arrays, as in older states, are accepted too.

    :param value: a value from :func:`portable`.
    """
    if type(value) is dict:
        if value.keys() == {ARRAY}:
            return value[ARRAY].cpu().numpy().copy(order="K")
        if value.keys() == {SCALAR}:
            return value[SCALAR].cpu().numpy()[()]
        if value.keys() == {DEQUE, "longest"}:
            return deque(map(restored, value[DEQUE]), value["longest"])
        return {key: restored(item) for key, item in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(map(restored, value))
    return copy.deepcopy(value)


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes that a method's state was made for; ``None`` before the first step, and where any size will do.

    :param tasks: K, for methods that keep state between steps.
    :param numbers: P, for methods that keep gradients.
    """

    tasks: int | None = None
    numbers: int | None = None

    def difference(self, other: Sizes) -> tuple[str, str] | None:
        """Return the first size that differs, in words: ours and theirs. A size of ``None`` fits every other."""
        for ours, theirs, words in (
            (self.tasks, other.tasks, "{} tasks"),
            (self.numbers, other.numbers, "gradients of {} numbers"),
        ):
            if ours is not None and theirs is not None and ours != theirs:
                return words.format(ours), words.format(theirs)
        return None


def checked_state(method: Plugin, own: Sizes, state: Any) -> tuple[dict[str, Any], Sizes]:
    """Return the values of a method's state fields from a saved state, and the sizes that it was made for.

    :param method: the method that will take the state.
    :param own: the sizes of the method's present state.
    :param state: a return value of ``state_dict()``, of this or an earlier version.
    :raises UsageError: when the state is not one, is of another method or other sizes, or lacks or adds an entry.
    """
    if not isinstance(state, dict):
        raise UsageError(f"method {method.name}: a state is a dict from state_dict(), not {shown(state)}")
    sizes = _checked_identity(method, own, state.get(IDENTITY))
    fields, entries = {field.name for field in dataclasses.fields(method) if not field.init}, {*state} - {IDENTITY}
    differences = (("lacks", fields - entries), ("has unknown", entries - fields))
    faults = [f"{verb} {', '.join(sorted(map(str, names)))}" for verb, names in differences if names]
    if faults:
        raise UsageError(f"method {method.name}: this is not a state of the method: it {' and '.join(faults)}")
    return {name: _value(method, name, state[name]) for name in sorted(fields)}, sizes


def _checked_identity(method: Plugin, own: Sizes, identity: Any) -> Sizes:
    if identity is None:  # from an earlier version
        return Sizes()
    entries = identity if isinstance(identity, dict) and {"method", "tasks", "numbers"} <= set(identity) else {}
    name, sizes = entries.get("method"), Sizes(entries.get("tasks"), entries.get("numbers"))
    if not isinstance(name, str) or any(type(size) not in (int, type(None)) for size in (sizes.tasks, sizes.numbers)):
        raise UsageError(f"method {method.name}: the state's entry '{IDENTITY}' is unreadable")
    if name != method.name:
        raise UsageError(f"method {method.name}: this is a state of method {name}")
    difference = own.difference(sizes)
    if difference is not None:
        raise UsageError(
            f"method {method.name} keeps state for {difference[0]}, and this state is for {difference[1]}: load it "
            "into a new method object"
        )
    return sizes


def _value(method: Plugin, name: str, value: Any) -> Any:
    """Return a field's value; for the generator, its state, after trying it on another generator of its kind."""
    try:
        value, own = restored(value), getattr(method, name)
        if isinstance(own, np.random.Generator):
            copy.deepcopy(own).bit_generator.state = value
        is_record = dataclasses.is_dataclass(own) and not isinstance(own, type)
        return type(own)(**value) if is_record else value
    except Exception as error:  # a file may hold anything
        raise UsageError(f"method {method.name}: the state's {name} is unreadable: {said(error)}") from error

"""Validate what a user passes to :class:`mtlbench.Surgery`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import nn

from mtlbench.contract.method import Method, without_trainer
from mtlbench.engine.library import get_method
from mtlbench.errors import UsageError, shown
from mtlbench.surgery.losses import task_name
from mtlbench.surgery.parameters import Source, described

Domain = Literal["shared", "last_shared_layer", "representation"]


def count(argument: str, value: Any) -> int:
    """Return a whole number of at least 1.

    :param argument: name of the argument, for messages.
    :param value: a Python or NumPy integer.
    :raises UsageError: when it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise UsageError(f"{argument} must be a whole number of at least 1, not {shown(value)}")
    return int(value)


def flag(argument: str, value: Any) -> bool:
    """Return a truth value.

    :param argument: name of the argument, for messages.
    :param value: ``True`` or ``False``, of Python or NumPy.
    :raises UsageError: when it is something else.
    """
    if not isinstance(value, bool | np.bool_):
        raise UsageError(f"{argument} must be True or False, not {shown(value)}")
    return bool(value)


def task_names(tasks: Any) -> tuple[int | None, list[str] | None]:
    """Return the number of tasks and their names, as far as they are known.

    :param tasks: ``None``, K, or K names.
    :raises UsageError: when it is something else, or two names are the same.
    """
    if tasks is None:
        return None, None
    if isinstance(tasks, Integral):
        return count("tasks", tasks), None
    if not isinstance(tasks, Iterable) or isinstance(
        tasks, str | bytes | Mapping | set | frozenset | torch.Tensor | type
    ):
        raise UsageError(f"tasks must be K, or a list of K different names, not {shown(tasks)}")
    names = [task_name(name) for name in tasks]
    if not names or len(set(names)) != len(names):
        raise UsageError(f"tasks must be K, or a list of K different names, not {shown(names)}")
    return len(names), names


def checked_method(method: Any, tasks: int | None) -> Method:
    """Return a method that can combine the tasks of one model.

    :param method: a name, a spec or a method.
    :param tasks: K, if known.
    :raises UsageError: when it is something else, or the method does not fit.
    """
    if isinstance(method, str):
        result = get_method(method)
    elif isinstance(method, Method):
        result = without_trainer(method)
    else:
        raise UsageError(f"method must be a name, a spec or a Method, not {described(method)}")
    if not result.joint:
        raise UsageError(
            f"method {result.name} trains one model a task, so there is nothing to combine; did you mean sum?"
        )
    if tasks is not None and tasks < result.min_tasks:
        raise UsageError(f"method {result.name} needs at least {result.min_tasks} tasks, got {tasks}")
    return result


def head_groups(
    heads: Any, tasks: int | None, names: Sequence[str] | None, shared: Iterable[torch.Tensor]
) -> list[Source] | None:
    """Return each task's own parameters.

    :param heads: a group for each task, as a list or a mapping by the tasks' names.
    :param tasks: K, if known.
    :param names: the tasks' names, if known.
    :param shared: the shared parameters.
    :raises UsageError: when a group is missing, is something else, or has a parameter of another one.
    """
    if heads is None:
        return None
    if isinstance(heads, Mapping | nn.ModuleDict):
        if names is None or set(heads) != set(names):
            raise UsageError(f"heads has the keys {shown(list(heads))}, so tasks must be a list of the same names")
        heads = [heads[name] for name in names]
    if not isinstance(heads, Iterable) or isinstance(heads, str | bytes | torch.Tensor | set | frozenset | type):
        raise UsageError(f"heads must be a list with the modules or parameters of each task, not {described(heads)}")
    groups = [Source("heads", group) for group in heads]
    if len(groups) != (len(groups) if tasks is None else tasks):
        raise UsageError(f"heads has {len(groups)} groups for {tasks} tasks: give one for every task")
    known = {id(parameter) for parameter in shared}
    for number, group in enumerate(groups):
        for name, parameter in group.parameters.items():
            if id(parameter) in known:
                raise UsageError(f"heads: {name} of group {number} is shared, or in another group: list it once")
        known |= {id(parameter) for parameter in group.parameters.values()}
    return groups


def given_source(argument: str, source: Any) -> Source | None:
    """Return where parameters are, or ``None`` where none were given.

    :param argument: name of the argument, for messages.
    :param source: as for :class:`Source`, or ``None``.
    :raises UsageError: as :class:`Source`.
    """
    return None if source is None else Source(argument, source)


def checked_scaler(scaler: Any) -> Any:
    """Return a gradient scaler, or ``None``.

    :param scaler: a ``torch.amp.GradScaler``, or what works like one.
    :raises UsageError: when it is something else.
    """
    works = all(callable(getattr(scaler, name, None)) for name in ("scale", "is_enabled"))
    if scaler is not None and (isinstance(scaler, type) or not works):
        raise UsageError(f"scaler must be the loop's torch.amp.GradScaler, not {described(scaler)}")
    return scaler


def checked_processes(choice: Any) -> Any:
    """Return a choice of the processes to average over.

    :param choice: ``"auto"``, ``False`` or a process group.
    :raises UsageError: when it is something else.
    """
    groups = (torch.distributed.ProcessGroup,) if torch.distributed.is_available() else ()
    if choice is not False and not (isinstance(choice, str) and choice == "auto") and not isinstance(choice, groups):
        raise UsageError(f"data_parallel must be 'auto', False or a process group, not {shown(choice)}")
    return choice


def checked_domain(method: Method, gram_of: Any, last: Any) -> Domain:
    """Return the parameters whose gradients' inner products a method reads.

    :param method: the method.
    :param gram_of: the user's choice, ``None`` for the method's.
    :param last: the last shared layer, as the user gave it.
    :raises UsageError: when the choice does not fit the method.
    """
    if gram_of is None:
        gram_of = method.gram_of
    elif not isinstance(gram_of, str) or gram_of not in get_args(Domain):
        raise UsageError(f"gram_of must be {', '.join(get_args(Domain))}, not {shown(gram_of)}")
    if gram_of != method.gram_of and method.reads != "gram":
        raise UsageError(f"method {method.name} reads no Gram matrix, so gram_of does not apply: leave it out")
    if gram_of == "last_shared_layer" and method.reads == "gram" and last is None:
        other = " or parameters_of=shared" if "parameters_of" in method.parameters else ""
        raise UsageError(f"{method.name} reads the last shared layer: pass last_shared_layer={other}")
    domain: Domain = gram_of
    return domain

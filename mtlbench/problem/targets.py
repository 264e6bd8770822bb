"""The tasks of a problem as its author declares them, checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

import numpy as np

from mtlbench.contract.problem import Problem, Target
from mtlbench.contract.task import Kind
from mtlbench.errors import CellError, UsageError, is_out_of_memory, said, shown, unknown
from mtlbench.host.safe_names import is_key
from mtlbench.problem.metrics import METRICS, metrics_of


def call(problem: Problem, hook: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the author's code before training.

    :param problem: the problem.
    :param hook: the name of the method, for messages.
    :param function: what to call.
    :param arguments: its arguments.
    :raises UsageError: naming problem and hook, when it raises anything but mtlbench's own errors.
    """
    try:
        return function(*arguments)
    except UsageError:
        raise
    except CellError as error:
        raise UsageError(str(error)) from error
    except (Exception, SystemExit) as error:  # an author's code may raise anything
        if is_out_of_memory(error):
            raise
        if is_missing(error):
            raise UsageError(f"problem {problem.name}: {hook}() is missing; write it") from None
        raise UsageError(f"problem {problem.name}: {hook}() raised {said(error)}") from error


def is_missing(error: BaseException) -> bool:
    """Return whether an error is that of a hook that the author did not write; torch's own have a message.

    :param error: the error.
    """
    return isinstance(error, NotImplementedError) and not error.args


def chosen_targets(problem: Problem, names: Sequence[str] = ()) -> tuple[Target, ...]:
    """Return the chosen tasks of a problem, in the order of the names.

    :param problem: the problem.
    :param names: names of some of its tasks, or none for all.
    :raises UsageError: when a name is unknown or given twice, or a task is declared wrongly.
    """
    where = f"problem {problem.name}"
    targets = call(problem, "targets", problem.targets)
    if not isinstance(targets, list | tuple) or not targets or not all(isinstance(t, Target) for t in targets):
        raise UsageError(f"{where}: targets() returned {shown(targets)}; return a list of one or more Target")
    by_name: dict[str, Target] = {}
    for target in targets:
        _check(where, target)
        if target.name in by_name:
            raise UsageError(f"{where}: targets() has two tasks of the name {target.name}; name each once")
        by_name[target.name] = target
    for name in names:
        if name not in by_name:
            raise unknown(f"task of problem {problem.name}:", name, by_name)
        if list(names).count(name) > 1:
            raise UsageError(f"task {name} of problem {problem.name} is named twice")
    return tuple(by_name[name] for name in names) if names else tuple(targets)


def _check(where: str, target: Target) -> None:
    if not is_key(target.name):
        raise UsageError(f"{where}: a task's name is {shown(target.name)}; it may hold letters, digits, '.', '_', '-'")
    where = f"{where}: task {target.name}"
    if target.prediction not in get_args(Kind):
        raise UsageError(f"{where}: prediction is {shown(target.prediction)}; declare {' or '.join(get_args(Kind))}")
    least = 2 if target.prediction == "classification" else 1
    outputs: Any = target.outputs
    if isinstance(outputs, bool) or not isinstance(outputs, int | np.integer) or outputs < least:
        raise UsageError(
            f"{where}: outputs is {shown(outputs)}; declare a whole number of at least {least} for {target.prediction}"
        )
    metrics: Any = target.metrics
    if not isinstance(metrics, tuple) or not all(isinstance(name, str) for name in metrics):
        known = ", ".join(METRICS[target.prediction])
        raise UsageError(f"{where}: metrics is {shown(metrics)}; declare a tuple of one or more of: {known}")
    if len(set(metrics)) < len(metrics):
        raise UsageError(f"{where}: metrics is {shown(metrics)}; name each once")
    try:
        metrics_of(target)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None

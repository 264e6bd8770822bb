"""Resolve what a user passes as K losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from numbers import Integral, Real
from typing import Any

import torch

from mtlbench.contract.method import Method
from mtlbench.errors import UsageError, shown
from mtlbench.surgery.parameters import described


@dataclass(frozen=True)
class TaskLosses:
    """Losses of one step.

    :param tensors: the scalar losses of the tasks that are present, each with its graph.
    :param positions: the positions of these tasks among all K.
    :param tasks: K.
    :param names: the K tasks' names, if they have any.
    """

    tensors: Sequence[torch.Tensor]
    positions: Sequence[int]
    tasks: int
    names: Sequence[str] | None = None

    @property
    def complete(self) -> bool:
        """Whether every task has a loss."""
        return len(self.positions) == self.tasks

    @property
    def labels(self) -> list[str]:
        """The name or number of the task of each tensor, for messages."""
        return [str(position) if self.names is None else self.names[position] for position in self.positions]


def task_losses(
    losses: Any, names: Sequence[str] | None = None, *, tasks: int | None = None, graphs: bool = True
) -> TaskLosses:
    """Return the losses in the tasks' order.

    :param losses: K scalar tensors as a sequence, a generator, a (K,) tensor, or a mapping by task; ``None`` stands for
        a task without labels in this batch.
    :param names: the tasks' names, if known; a mapping must have exactly these keys.
    :param tasks: K, if known.
    :param graphs: whether every loss must have a graph.
    :raises UsageError: when there is no loss, or their number or one of them is wrong.
    """
    values, names = _in_order(losses, names)
    if not values:
        raise UsageError("losses is empty: give at least one loss")
    if len(values) != (len(values) if tasks is None else tasks):
        raise UsageError(f"got {len(values)} losses for {tasks} tasks: give one for every task, None where it has none")
    positions = [position for position, loss in enumerate(values) if loss is not None]
    if not positions:
        raise UsageError("all losses are None: leave out the step when no task has labels")
    given = TaskLosses([values[position] for position in positions], positions, len(values), names)
    if graphs:
        _refuse_repeated(given)
    tensors = [_scalar(label, loss, graphs) for label, loss in zip(given.labels, given.tensors, strict=True)]
    return replace(given, tensors=tensors)


def further_losses(further: Any, losses: TaskLosses, method: Method) -> list[TaskLosses]:
    """Return the losses of further, independent batches.

    :param further: what the user gave: for every batch, losses as for :func:`task_losses`.
    :param losses: the losses of the first batch.
    :param method: declares the number of batches.
    :raises UsageError: when their number or one of them is wrong, or a loss is in two batches.
    """
    expected = method.batches - 1
    advice = f"further= {expected} lists of {losses.tasks} losses" if expected else "no further="
    fault = f"method {method.name} takes {expected + 1} batch{'es' if expected else ''} a step: give {advice}"
    batches = (
        further.unbind() if isinstance(further, torch.Tensor) and further.ndim else () if further is None else further
    )
    if not isinstance(batches, Iterable) or isinstance(batches, torch.Tensor | Mapping | str | bytes):
        raise UsageError(f"{fault}, not {described(further)}")
    batches = [batch if isinstance(batch, Mapping) else _listed(batch) for batch in batches]
    if len(batches) != expected or any(batch is None or len(batch) != losses.tasks for batch in batches):
        raise UsageError(fault)
    result = [task_losses(batch, losses.names, tasks=losses.tasks) for batch in batches]
    if any(batch.positions != losses.positions for batch in result):
        raise UsageError("the batches differ in which losses are None: every batch needs the same tasks")
    ids = [id(loss) for batch in (losses, *result) for loss in batch.tensors]
    if len(set(ids)) != len(ids):
        raise UsageError(f"method {method.name} needs independent batches, but a loss is in two of them")
    return result


def task_name(name: Any) -> str:
    """Return a task's name as text.

    :param name: a key of the losses, or an item of ``tasks``.
    :raises UsageError: when it is no name, or would break a message into lines.
    """
    if not isinstance(name, str | Integral | Enum) or not str(name).isprintable() or not str(name):
        raise UsageError(f"a task's name must be one line of text, not {shown(name)}")
    return str(name)


def all_or_independent(method: Method, losses: TaskLosses) -> None:
    """Refuse a step without some task for a method to which the tasks' positions matter.

    :param method: the method that will combine the present tasks.
    :param losses: the step's losses.
    :raises UsageError: when a task is absent and the method keeps numbers for each.
    """
    if losses.complete:
        return
    absent = min(set(range(losses.tasks)) - set(losses.positions))
    per_task = any(":tasks" in space for space in method.search.values())
    if method.state != "none" or method.symmetry in {"main task", "in turns"} or per_task:
        name = absent if losses.names is None else losses.names[absent]
        raise UsageError(
            f"method {method.name} keeps numbers for each task, so it needs every loss at every step; "
            f"task {name} has None: use a method without state, or batches with labels for all tasks"
        )


def _in_order(losses: Any, names: Sequence[str] | None) -> tuple[list[Any], Sequence[str] | None]:
    """Return the losses in the tasks' order, and the tasks' names."""
    if isinstance(losses, Mapping):
        by_name = {task_name(key): loss for key, loss in losses.items()}
        if len(by_name) != len(losses):
            raise UsageError(f"losses has two keys of the same name: {', '.join(map(str, losses))}")
        if names is None:
            names = list(by_name)
        elif set(by_name) != set(names):
            raise UsageError(f"losses has the keys {', '.join(by_name)}, but the tasks are {', '.join(names)}")
        return [by_name[name] for name in names], names
    values = _listed(losses)
    if values is None:
        raise UsageError(f"losses must be K scalar tensors in a list, a dict or a (K,) tensor, not {described(losses)}")
    return values, names if names is not None and len(names) == len(values) else None


def _listed(losses: Any) -> list[Any] | None:
    """Return losses without names as a list, or ``None`` for something else."""
    if isinstance(losses, torch.Tensor):
        if losses.ndim != 1:
            raise UsageError(
                f"losses is a tensor of shape {tuple(losses.shape)}: give K scalar losses (not their sum), or a (K,) "
                "tensor"
            )
        return list(losses.unbind())
    if isinstance(losses, set | frozenset):
        raise UsageError("losses is a set, which has no order: give a list or a dict")
    return list(losses) if isinstance(losses, Iterable) and not isinstance(losses, str | bytes | type) else None


def _refuse_repeated(losses: TaskLosses) -> None:
    first: dict[int, str] = {}
    for label, loss in zip(losses.labels, losses.tensors, strict=True):
        if isinstance(loss, torch.Tensor) and id(loss) in first:
            raise UsageError(f"losses {first[id(loss)]} and {label} are the same tensor: give every task its own loss")
        first[id(loss)] = label


def _scalar(name: str, loss: Any, graphs: bool) -> torch.Tensor:
    number = isinstance(loss, Real) and not isinstance(loss, bool)
    if number and not graphs:
        try:
            loss = torch.tensor(float(loss), dtype=torch.float64)
        except OverflowError:
            raise UsageError(f"loss {name} is too large for a float: {shown(loss)}") from None
    if not isinstance(loss, torch.Tensor):
        fix = ": pass it before .item()" if number else ""
        raise UsageError(
            f"loss {name} is {described(loss)}, not a tensor {'with a graph' if graphs else 'or number'}{fix}"
        )
    if loss.is_meta:
        raise UsageError(f"loss {name} is on the meta device, without a value: load the model and the batch first")
    if loss.numel() != 1:
        raise UsageError(f"loss {name} has shape {tuple(loss.shape)}: reduce it to one number, for example by .mean()")
    if loss.is_complex():
        raise UsageError(f"loss {name} is complex: a loss is a real number")
    if graphs and not loss.requires_grad:
        raise UsageError(f"loss {name} has no graph: it depends on no parameter, or was computed under torch.no_grad()")
    return loss if loss.ndim == 0 else loss.reshape(())

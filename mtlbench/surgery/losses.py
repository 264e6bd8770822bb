"""Resolve what a user passes as K losses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mtlbench.contract.method import Method
from mtlbench.errors import UsageError


@dataclass(frozen=True)
class TaskLosses:
    """Losses of one step.

    :param tensors: the scalar losses of the tasks that are present, each with its graph.
    :param positions: the positions of these tasks among all K.
    :param tasks: K.
    """

    tensors: Sequence[torch.Tensor]
    positions: Sequence[int]
    tasks: int

    @property
    def complete(self) -> bool:
        """Whether every task has a loss."""
        return len(self.positions) == self.tasks


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
    items = _items(losses, names)
    if not items:
        raise UsageError("losses is empty: give at least one loss")
    if tasks is not None and len(items) != tasks:
        raise UsageError(f"got {len(items)} losses for {tasks} tasks: give one for every task, None where it has none")
    present = [(position, name, loss) for position, (name, loss) in enumerate(items) if loss is not None]
    if not present:
        raise UsageError("all losses are None: leave out the step when no task has labels")
    tensors = [_scalar(name, loss, graphs) for _, name, loss in present]
    return TaskLosses(tensors, [position for position, _, _ in present], len(items))


def all_or_independent(method: Method, losses: TaskLosses) -> None:
    """Refuse a step without some task for a method to which the tasks' positions matter.

    :param method: the method that will combine the present tasks.
    :param losses: the step's losses.
    :raises UsageError: when a task is absent and the method keeps numbers for each.
    """
    if losses.complete:
        return
    absent = sorted(set(range(losses.tasks)) - set(losses.positions))
    per_task = any(":tasks" in space for space in method.search.values())
    if method.state != "none" or method.symmetry in {"main task", "in turns"} or per_task:
        raise UsageError(
            f"method {method.name} keeps numbers for each task, so it needs every loss at every step; "
            f"task {absent[0]} has None: use a method without state, or batches with labels for all tasks"
        )


def _items(losses: Any, names: Sequence[str] | None) -> list[tuple[str, Any]]:
    if isinstance(losses, torch.Tensor):
        if losses.ndim != 1:
            raise UsageError(
                f"losses is a tensor of shape {tuple(losses.shape)}: give K scalar losses (not their sum), or a (K,) "
                "tensor"
            )
        losses = losses.unbind()
    if isinstance(losses, Mapping):
        keys = [str(key) for key in losses]
        if names is not None and set(keys) != set(names):
            raise UsageError(f"losses has the keys {', '.join(keys)}, but the tasks are {', '.join(names)}")
        by_name = dict(zip(keys, losses.values(), strict=True))
        return [(name, by_name[name]) for name in (keys if names is None else names)]
    if not isinstance(losses, Iterable) or isinstance(losses, str | bytes):
        raise UsageError(f"losses must be K scalar tensors in a list, a dict or a (K,) tensor, not {_kind(losses)}")
    values = list(losses)
    if names is not None and len(names) == len(values):
        return list(zip(names, values, strict=True))
    return [(str(position), value) for position, value in enumerate(values)]


def _scalar(name: str, loss: Any, graphs: bool) -> torch.Tensor:
    if isinstance(loss, float | int) and not graphs:
        loss = torch.tensor(float(loss), dtype=torch.float64)
    if not isinstance(loss, torch.Tensor):
        raise UsageError(f"loss {name} is {_kind(loss)}, not a tensor with a graph: pass it before .item()")
    if loss.numel() != 1:
        raise UsageError(f"loss {name} has shape {tuple(loss.shape)}: reduce it to one number, for example by .mean()")
    if loss.is_complex():
        raise UsageError(f"loss {name} is complex: a loss is a real number")
    if graphs and not loss.requires_grad:
        raise UsageError(f"loss {name} has no graph: it depends on no parameter, or was computed under torch.no_grad()")
    return loss if loss.ndim == 0 else loss.reshape(())


def _kind(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"

"""Examine surgery on a user's own batch: every parameter's row beside that of ``torch.autograd.grad``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from mtlbench.surgery.finding import Deviation, Examination
from mtlbench.surgery.graph import Graph
from mtlbench.surgery.layout import layout_of
from mtlbench.surgery.losses import TaskLosses
from mtlbench.surgery.native import Tally
from mtlbench.surgery.parameters import named_parameters
from mtlbench.surgery.passes import gradients_of, into_row
from mtlbench.surgery.rows import Rows
from mtlbench.surgery.skipping import RowSkipping

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}
"""Relative to a gradient's largest entry. Sums in another order differ by far less, a wrong backward by far more."""
ROUNDING = 8.0
"""Roundings of the task's largest gradient that count as zero, as for the biases of keys, whose gradients cancel."""


@dataclass(frozen=True)
class _Batch:
    """What one examination looks at."""

    losses: TaskLosses
    tasks: Sequence[str]
    graph: Graph
    shared: dict[str, torch.Tensor]
    names: Mapping[int, str]
    skipping: RowSkipping | None
    scale: float


def examine(
    losses: TaskLosses,
    shared: dict[str, torch.Tensor],
    *,
    heads: Sequence[Sequence[torch.Tensor]] | None = None,
    skipping: RowSkipping | None = None,
    scale: float = 1.0,
    model: Any = None,
) -> Examination:
    """Compare the rows of a step's task gradients with those of torch, and say what else there is to know.

    Every task's pass runs twice as in a step, and once as torch's own ``autograd.grad``, in which replaced layers run
    torch's functions. All graphs are retained. It takes as much memory for rows as a step does.

    :param losses: the losses of the tasks that are present, with their graphs.
    :param shared: the shared parameters that require a gradient, by name.
    :param heads: for each present task, the parameters that belong to it alone, where the user names them.
    :param skipping: the replaced layers, if any.
    :param scale: the gradient scaler's factor.
    :param model: the whole model, for the names of its other parameters.
    """
    others = {} if model is None else named_parameters("model", model)
    names = {id(parameter): name for name, parameter in [*others.items(), *shared.items()]}
    ids = {id(parameter) for parameter in shared.values()}
    graph = Graph.of(losses.tensors, ids, heads, losses.labels, refuse=False)
    devices = {parameter.device for parameter in shared.values() if parameter.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)):  # a checkpoint may draw numbers again
        return _findings(_Batch(losses, losses.labels, graph, shared, names, skipping, scale), others)


def _findings(batch: _Batch, others: Mapping[str, torch.Tensor]) -> Examination:
    shared, graph = list(batch.shared.values()), batch.graph
    rows = Rows(layout_of(shared, set() if batch.skipping is None else batch.skipping.tables), len(batch.tasks))
    agreement, repetition, same_bits = Deviation(), Deviation(), True
    tally = Tally()
    bad: list[tuple[str, str]] = []
    known = {id(leaf) for leaf in [*shared, *graph.disputed, *(leaf for own in graph.heads for leaf in own)]}
    hidden = [p for p in others.values() if graph.reentrant and p.requires_grad and id(p) not in known]
    reached: list[set[int]] = []
    for task, (name, loss) in enumerate(zip(batch.tasks, batch.losses.tensors, strict=True)):
        if not bool(torch.isfinite(loss.detach())):
            bad.append((name, "the loss itself"))
        leaves = [*graph.heads[task], *graph.disputed, *hidden]
        labels = [_name(batch, leaf) for leaf in [*shared, *leaves]]
        first = [None if g is None else g.clone() for g in _as_in_a_step(batch, rows, task, leaves)]
        second = _as_in_a_step(batch, rows, task, leaves)
        true = _by_torch(batch, task, [*shared, *leaves], tally)
        reached.append({id(leaf) for leaf, g in zip([*shared, *leaves], true, strict=True) if g is not None})
        scale = max((_largest(g) for g in true if g is not None), default=0.0)
        for label, one, two, other in zip(labels, first, second, true, strict=True):
            place = (name, label)
            if any(g is not None and not bool(torch.isfinite(g).all()) for g in (one, two, other)):
                bad.append(place)
                continue
            same_bits &= one is None or two is None or one.equal(two)
            repetition = repetition.larger(_deviation(one, two, scale, place))
            agreement = agreement.larger(_deviation(one, other, scale, place))
    counts = {id(leaf): sum(id(leaf) in ids for ids in reached) for leaf in [*shared, *others.values()]}
    frozen = {id(leaf) for leaf in others.values() if not leaf.requires_grad}
    return Examination(
        tasks=batch.tasks,
        agreement=agreement,
        repetition=repetition,
        deterministic=same_bits,
        not_finite=bad,
        blind=[name for name, ids in zip(batch.tasks, reached, strict=True) if not ids & set(map(id, shared))],
        unreached=[batch.names[key] for key, count in counts.items() if count == 0 and key not in frozen],
        partly={
            name: [task for task, ids in zip(batch.tasks, reached, strict=True) if id(leaf) in ids]
            for name, leaf in batch.shared.items()
            if 0 < counts[id(leaf)] < len(batch.tasks)
        },
        heads={task: _names(batch, own) for task, own in zip(batch.tasks, graph.heads, strict=True)},
        disputed=_disputed(batch),
        hooked=[name for name, leaf in batch.shared.items() if _has_hooks(leaf)],
        overlap=graph.overlap,
        dead_share=tally.share,
        types=_sizes(shared),
        megabytes=sum(block.buffer.numel() * block.buffer.element_size() for block in rows.blocks) / 1e6,
        gram=rows.gram() / batch.scale**2,
    )


def _factor(batch: _Batch, task: int) -> torch.Tensor:
    return torch.full_like(batch.losses.tensors[task], batch.scale).detach()


def _as_in_a_step(batch: _Batch, rows: Rows, task: int, leaves: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
    """Run one pass by the code of a step; return the row's views, and the gradients of other leaves."""
    shared, skipping = list(batch.shared.values()), batch.skipping
    rows.begin(task)
    with nullcontext() if skipping is None else skipping.into(rows, task, shared):
        loss, factor = batch.losses.tensors[task], _factor(batch, task)
        others = into_row(rows, task, loss, factor, shared, leaves, retain_graph=True, reentrant=batch.graph.reentrant)
    return [*rows.views[task], *(None if g is None else g.to_dense() for g in others)]


def _by_torch(batch: _Batch, task: int, inputs: Sequence[torch.Tensor], tally: Tally) -> list[torch.Tensor | None]:
    loss, factor = batch.losses.tensors[task], _factor(batch, task)
    with nullcontext(tally) if batch.skipping is None else batch.skipping.natively() as own:
        result = gradients_of([loss], inputs, [factor], retain_graph=True, reentrant=batch.graph.reentrant)
    if own is not tally:
        tally.rows, tally.dead = tally.rows + own.rows, tally.dead + own.dead
    return [None if gradient is None else gradient.to_dense() for gradient in result]


def _deviation(one: torch.Tensor | None, other: torch.Tensor | None, scale: float, place: tuple[str, str]) -> Deviation:
    """Return how far two gradients are apart; ``None`` is a gradient of zeros."""
    like = one if one is not None else other
    if like is None:
        return Deviation()
    first, second = (torch.zeros_like(like) if g is None else g for g in (one, other))
    distance, size = _largest(first - second), max(_largest(first), _largest(second))
    rounding = ROUNDING * torch.finfo(like.dtype).eps * scale
    relative = 0.0 if distance <= rounding else (distance - rounding) / size
    return Deviation(relative, TOLERANCE.get(like.dtype, 0.1), place)


def _disputed(batch: _Batch) -> list[str]:
    """Return the names of leaves outside the shared ones that several losses reach."""
    if not batch.graph.joined:
        return [_name(batch, leaf) for leaf in batch.graph.disputed]
    live: Counter[str] = Counter()
    for task in range(len(batch.tasks)):
        gradients = _by_torch(batch, task, batch.graph.disputed, Tally()) if batch.graph.disputed else []
        pairs = zip(batch.graph.disputed, gradients, strict=False)
        live.update(_name(batch, leaf) for leaf, g in pairs if g is not None and bool(g.any()))
    return [name for name, count in live.items() if count > 1]


def _name(batch: _Batch, leaf: torch.Tensor) -> str:
    what = "parameter" if isinstance(leaf, torch.nn.Parameter) else "tensor"
    return batch.names.get(id(leaf), f"a {what} of shape {tuple(leaf.shape)}")


def _names(batch: _Batch, leaves: Sequence[torch.Tensor]) -> list[str]:
    """Return names in the model's order, as far as it is known."""
    order = {key: number for number, key in enumerate(batch.names)}
    return [_name(batch, leaf) for leaf in sorted(leaves, key=lambda leaf: order.get(id(leaf), len(order)))]


def _has_hooks(leaf: Any) -> bool:
    return bool(leaf._backward_hooks or getattr(leaf, "_post_accumulate_grad_hooks", None))


def _largest(gradient: torch.Tensor) -> float:
    return float(gradient.detach().abs().max()) if gradient.numel() else 0.0


def _sizes(parameters: Sequence[torch.Tensor]) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for parameter in parameters:
        sizes[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return dict(sizes)

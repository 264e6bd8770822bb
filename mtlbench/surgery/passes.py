"""One backward pass of one loss, which leaves no trace but its gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch

from mtlbench.errors import UsageError
from mtlbench.surgery.rows import Rows

DONATED = "donated buffers"
LARGE = 2**14
"""Numbers from which a gradient goes to its row at once, while it is in the cache; smaller ones go together, since a
hook on each of hundreds, as LoRA has, takes longer than copying them."""


def gradients_of(
    outputs: Sequence[torch.Tensor],
    inputs: Sequence[torch.Tensor],
    factors: Sequence[torch.Tensor | None],
    *,
    retain_graph: bool,
    reentrant: bool = False,
    receive: Mapping[int, Callable[[torch.Tensor], torch.Tensor]] | None = None,
) -> list[torch.Tensor | None]:
    """Return Σ factor · ∂output/∂input for every input, ``None`` where no output reaches it.

    Parameters' own hooks do not run: they run once, when the finished update is delivered.

    :param outputs: tensors with graphs.
    :param inputs: parameters, or tensors between them and the outputs.
    :param factors: the gradient of each output; ``None`` stands for 1.
    :param retain_graph: whether another pass through the same graph follows.
    :param reentrant: whether the graph holds a reentrant checkpoint, through which ``torch.autograd.grad`` cannot go:
        then the pass fills ``.grad``, which is put back afterwards.
    :param receive: position of a leaf → a function that takes its gradient as soon as torch has it, and returns what to
        return in its place, so that torch frees it.
    :raises UsageError: when the graph was freed or changed since the forward.
    """
    with _without_hooks(inputs), _hooked(inputs, {} if reentrant or receive is None else receive):
        try:
            if reentrant:
                return _by_accumulation(outputs, inputs, factors, retain_graph)
            return list(
                torch.autograd.grad(outputs, inputs, list(factors), retain_graph=retain_graph, allow_unused=True)
            )
        except RuntimeError as error:
            if DONATED in str(error):
                raise UsageError(
                    "the losses share one compiled graph, whose buffers torch frees in the first pass: import "
                    "torch._functorch.config and set its donated_buffer = False before the model's first forward"
                ) from error
            if "second time" in str(error):
                raise UsageError(
                    "the losses' graph was freed by an earlier backward pass: compute the losses anew at every step"
                ) from error
            if "modified by an inplace operation" in str(error):
                raise UsageError(
                    "something in the losses' graph was changed in place after the forward, as by an optimizer's step: "
                    "compute the losses after it"
                ) from error
            raise


def _by_accumulation(
    outputs: Sequence[torch.Tensor], inputs: Sequence[Any], factors: Sequence[torch.Tensor | None], retain_graph: bool
) -> list[torch.Tensor | None]:
    previous = [tensor.grad for tensor in inputs]
    try:
        for tensor in inputs:
            tensor.grad = None
        torch.autograd.backward(outputs, list(factors), retain_graph=retain_graph)
        return [tensor.grad for tensor in inputs]
    finally:
        for tensor, gradient in zip(inputs, previous, strict=True):
            tensor.grad = gradient


@contextmanager
def without_autocast(tensors: Iterable[torch.Tensor]) -> Iterator[None]:
    """Switch autocast off: a backward pass inside it would round what it rounds nowhere else.

    :param tensors: tensors on the devices concerned.
    """
    with ExitStack() as stack:
        for kind in {tensor.device.type for tensor in tensors}:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def _without_hooks(tensors: Sequence[torch.Tensor]) -> Iterator[None]:
    """Silence the hooks of leaves: a hook that scales or clips ``.grad`` would act on every task's gradient as well."""
    hooks = [tensor._backward_hooks for tensor in tensors if tensor.is_leaf and tensor._backward_hooks]
    hooks += [h for tensor in tensors if (h := getattr(tensor, "_post_accumulate_grad_hooks", None))]
    saved = [dict(group) for group in hooks]
    for group in hooks:
        group.clear()
    try:
        yield
    finally:
        for group, entries in zip(hooks, saved, strict=True):
            group.update(entries)


@contextmanager
def _hooked(
    tensors: Sequence[torch.Tensor], receive: Mapping[int, Callable[[torch.Tensor], torch.Tensor]]
) -> Iterator[None]:
    """Pass gradients on when they are ready; a sparse one stays, since a hook must not change its layout."""

    def hook(receive_one: Callable[[torch.Tensor], torch.Tensor], gradient: torch.Tensor | None) -> torch.Tensor | None:
        if gradient is None:  # from a function that returns none, such as a layer that wrote to the row itself
            return None
        view = receive_one(gradient)
        return None if gradient.is_sparse else view

    handles = [
        tensors[position].register_hook(partial(hook, receive_one))  # type: ignore[no-untyped-call]
        for position, receive_one in receive.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def into_row(
    rows: Rows,
    task: int,
    loss: torch.Tensor,
    factor: torch.Tensor | None,
    shared: Sequence[torch.Tensor],
    others: Sequence[torch.Tensor] = (),
    *,
    retain_graph: bool,
    reentrant: bool = False,
) -> list[torch.Tensor | None]:
    """Run a loss's pass, add the gradients of the shared parameters to its row, and return those of other leaves.

    :param rows: the rows, after :meth:`Rows.begin`.
    :param task: the row's number.
    :param loss: the loss.
    :param factor: the gradient that its pass starts from.
    :param shared: the shared parameters.
    :param others: further leaves.
    :param retain_graph: see :func:`gradients_of`.
    :param reentrant: see :func:`gradients_of`.
    """
    count, inputs = len(shared), [*shared, *others]
    receive = {
        position: partial(rows.receive, task, position)
        for position, parameter in enumerate(shared)
        if parameter.numel() >= LARGE and not reentrant
    }
    gradients = gradients_of([loss], inputs, [factor], retain_graph=retain_graph, reentrant=reentrant, receive=receive)
    own = enumerate(gradients[:count])
    rows.receive_all(task, {i: gradient for i, gradient in own if gradient is not None and i not in receive})
    rows.finish(task)
    return gradients[count:]

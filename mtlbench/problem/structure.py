"""What a problem's model is made of: shared parameters and heads, told apart by the gradients of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from mtlbench import seeds
from mtlbench.errors import CellError
from mtlbench.problem.batch import TrainingRows
from mtlbench.problem.forwards import Forward, forward
from mtlbench.problem.hooks import Hooks
from mtlbench.problem.randomness import seeded
from mtlbench.problem.weights import state_fingerprint
from mtlbench.surgery.graph import Graph, nodes, origin, past

JITTER = 0.01
"""Spread of the noise on parameters where only gradients tell heads apart: those of a head of zeros would vanish."""


@dataclass(frozen=True)
class Structure:
    """The parts of a model, by the names of its parameters.

    :param shared: trained parameters that two losses reach; of one task alone, those that the author names, or those
        before the representation, or all.
    :param heads: for each task, trained parameters that its loss alone reaches.
    :param last: trained parameters of the last shared layer; empty where the author names none.
    :param representation: whether the author names a module whose output all heads read.
    :param updates_buffers: whether a forward pass in training mode changes buffers, as BatchNorm's does.
    :param parameters: the number of shared parameters, frozen ones included.
    :param trainable: the number of trained ones of them.
    :param sizes: parameter → how many numbers it has, for all of the model.
    """

    shared: tuple[str, ...]
    heads: tuple[tuple[str, ...], ...]
    last: tuple[str, ...]
    representation: bool
    updates_buffers: bool
    parameters: int
    trainable: int
    sizes: Mapping[str, int]

    def size(self, names: Iterable[str]) -> int:
        """Return how many numbers some parameters have.

        :param names: their names.
        """
        return sum(self.sizes[name] for name in names)


def probe(hooks: Hooks, rows: TrainingRows, batch_size: int, *, complete: bool) -> Structure:
    """Build a problem's model twice, and run one batch through it.

    :param hooks: the author's code.
    :param rows: the training rows, on the CPU.
    :param batch_size: the number of rows of a batch.
    :param complete: whether these are all tasks of the problem; what the author names may be shared with others.
    :raises CellError: for anything that is wrong with the model, its outputs or its losses.
    """
    device, problem = torch.device("cpu"), f"problem {hooks.problem.name}"
    model = hooks.model(0, device)
    if _state(model) != _state(hooks.model(0, device)):
        raise CellError(f"{problem}: model() gives other weights the second time with the same random numbers")
    module = hooks.representation(model)
    before = [buffer.clone() for buffer in model.buffers()]
    passes = _forwards(hooks, model, rows, batch_size, module)
    changed = any(not torch.equal(old, new) for old, new in zip(before, model.buffers(), strict=True))
    losses = [loss for one in passes for loss in one.losses]
    for target, loss in zip(hooks.targets, losses, strict=True):
        if not bool(torch.isfinite(loss)):
            raise CellError(f"{problem}: task {target.name}: the loss of the first batch is {float(loss.detach())}")
        if not loss.requires_grad:
            raise CellError(f"{problem}: task {target.name}: the loss depends on no parameter that requires a gradient")
    owners = _owners(hooks, model, losses, rows, batch_size)
    shared = _shared(hooks, model, owners, passes, complete)
    for number, target in enumerate(hooks.targets):
        if not any(number in owners[name] for name in shared):
            raise CellError(f"{problem}: task {target.name}: the loss depends on none of the shared parameters")
    last = _last(hooks, model, owners, shared, complete)
    if module is not None:
        _check_representation(hooks, model, passes, losses, shared)
    heads = tuple(
        tuple(name for name, tasks in owners.items() if tasks == {number} and name not in shared)
        for number in range(len(hooks.targets))
    )
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    trainable = sum(sizes[name] for name in shared)
    total = sum(sizes.values()) - sum(sizes[name] for group in heads for name in group)
    return Structure(shared, heads, last, module is not None, changed, total, trainable, sizes)


def _forwards(
    hooks: Hooks, model: nn.Module, rows: TrainingRows, batch_size: int, module: nn.Module | None
) -> list[Forward]:
    """Run the batches of a step: one for all tasks, or one for each."""
    order = seeds.generator("probe", hooks.problem.name).permutation(len(rows.split))
    groups = [(target,) for target in hooks.targets] if hooks.problem.separate else [hooks.targets]
    passes = []
    for tasks in groups:
        own = rows.split.labelled[tasks[0].name][order]
        numbers = (order[own] if hooks.problem.separate else order)[:batch_size]
        for target in tasks:
            mask = rows.split.labelled[target.name]
            if not mask[numbers].any():
                numbers = np.append(numbers, order[mask[order]][:1])
        with seeded(seeds.derive(0, "probe"), rows.device):
            batch = rows.batch(numbers, tasks)
            passes.append(forward(hooks, model, batch, tasks, tasks, representation=module))
    return passes


def _owners(
    hooks: Hooks, model: nn.Module, losses: Sequence[torch.Tensor], rows: TrainingRows, batch_size: int
) -> dict[str, set[int]]:
    """Return the numbers of the tasks whose losses reach each trained parameter, by its name."""
    graph = Graph.of(losses, [], refuse=False)
    if graph.joined:  # the graph leads from every loss to all that is joined: only gradients tell
        model = _jittered(hooks)
        losses = [loss for one in _forwards(hooks, model, rows, batch_size, None) for loss in one.losses]
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    owners: dict[str, set[int]] = {name: set() for name in named}
    reached: dict[str, set[int]] = {name: set() for name in named}
    for number, loss in enumerate(losses):
        gradients = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
        for name, gradient in zip(named, gradients, strict=True):
            if gradient is not None:
                reached[name].add(number)
                if not graph.joined or bool(gradient.any()):
                    owners[name].add(number)
    return {name: tasks or reached[name] for name, tasks in owners.items()}


def _jittered(hooks: Hooks) -> nn.Module:
    model = hooks.model(0, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seeds.derive("probe", "jitter"))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn(parameter.shape, generator=generator).to(parameter) * JITTER)
    return model


def _shared(
    hooks: Hooks, model: nn.Module, owners: dict[str, set[int]], passes: Sequence[Forward], complete: bool
) -> tuple[str, ...]:
    """Return the names of the shared parameters, in the model's order."""
    problem, names = f"problem {hooks.problem.name}", [target.name for target in hooks.targets]
    declared = hooks.parameters("shared", model)
    if declared is None and len(names) == 1:  # no other loss tells: what is before the heads, or all
        tensors = [tensor for one in passes for tensor in one.representation]
        ids = {id(getattr(node, "variable", None)) for tensor in tensors for node in nodes(tensor)}
        named = dict(model.named_parameters())
        before = tuple(name for name in owners if id(named[name]) in ids)
        return before or tuple(name for name, tasks in owners.items() if tasks)
    if len(names) == 1:
        return tuple(name for name, tasks in owners.items() if tasks and name in (declared or ()))
    shared = tuple(name for name, tasks in owners.items() if len(tasks) > 1)
    if not shared:
        raise CellError(f"{problem}: no parameter is reached by the losses of two tasks, so there is nothing to share")
    if declared is None:
        return shared
    for name, tasks in owners.items():
        if len(tasks) > 1 and name not in declared:
            first, second = (names[number] for number in sorted(tasks)[:2])
            raise CellError(
                f"{problem}: the losses of tasks {first} and {second} both reach {name}, but shared() does not have "
                "it: add it, or leave shared() out"
            )
        if complete and len(tasks) == 1 and name in declared:
            raise CellError(
                f"{problem}: shared() has {name}, which the loss of task {names[min(tasks)]} alone reaches: leave it "
                "out, or leave shared() out"
            )
    return shared


def _last(
    hooks: Hooks, model: nn.Module, owners: dict[str, set[int]], shared: Sequence[str], complete: bool
) -> tuple[str, ...]:
    declared = hooks.parameters("last_shared_layer", model)
    problem = f"problem {hooks.problem.name}"
    for name in declared or ():
        if name not in shared and not complete:
            return ()
        if name not in shared:
            raise CellError(f"{problem}: last_shared_layer() has {name}, which is not among the shared parameters")
    last = tuple(name for name in shared if name in (declared or ()))
    for number, target in enumerate(hooks.targets):
        if last and not any(number in owners[name] for name in last):
            raise CellError(f"{problem}: last_shared_layer() is not reached by the loss of task {target.name}")
    return last


def _check_representation(
    hooks: Hooks, model: nn.Module, passes: Sequence[Forward], losses: Sequence[torch.Tensor], shared: Sequence[str]
) -> None:
    """Refuse a module that was not run, or around which a loss reaches a shared parameter."""
    where = f"problem {hooks.problem.name}: representation()"
    tensors = [tensor for one in passes for tensor in one.representation]
    if any(not one.representation for one in passes):
        raise CellError(f"{where} returned a module that outputs() does not run, or whose output has no graph")
    named = dict(model.named_parameters())
    if past(losses, tensors, {id(named[name]) for name in shared}):
        raise CellError(
            f"{where} returned a module around which a loss reaches a shared parameter: return the last one"
        )
    origins = {origin(tensor) for tensor in tensors}
    for target, loss in zip(hooks.targets, losses, strict=True):
        if not origins & nodes(loss):
            raise CellError(f"{where} returned a module whose output the loss of task {target.name} does not read")


def _state(model: nn.Module) -> list[tuple[str, str]]:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [(name, state_fingerprint([value])) for name, value in tensors]

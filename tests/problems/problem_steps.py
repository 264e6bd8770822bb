"""One step of a problem on a few rows, and what must be true of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtlbench import Data, Problem, Surgery, Target, UsageError


def new_model(problem: Problem, targets: Sequence[Target], seed: int = 0) -> torch.nn.Module:
    """Return a model as the training loop makes it: with seeded generators."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return problem.model(targets)


def losses_of(problem: Problem, model: torch.nn.Module, data: Data, targets: Sequence[Target], rows: int) -> Any:
    """Return the features that the heads read, and task → loss, of the first training rows."""
    numbers = np.arange(min(rows, len(data.train)))
    captured: list[torch.Tensor] = []
    module = problem.representation(model)
    assert module is not None
    handle = module.register_forward_hook(lambda _, __, output: captured.append(output))
    outputs = problem.outputs(model, data.train.take(numbers), [target.name for target in targets])
    handle.remove()
    losses = {}
    for target in targets:
        assert outputs[target.name].shape == (len(numbers), target.outputs)
        chosen = np.asarray(data.train.labels[target.name])[numbers]
        labelled = chosen >= 0 if target.prediction == "classification" else ~np.isnan(chosen)
        labelled = labelled.reshape(len(chosen), -1).all(axis=1)
        labels = torch.from_numpy(chosen[labelled])
        if target.prediction == "regression":
            labels = labels.reshape(len(labels), -1).float()
        losses[target.name] = problem.loss(target, outputs[target.name][torch.from_numpy(labelled)], labels)
    return captured[0], losses


def check_step(problem: Problem, data: Data, names: Sequence[str], method: str = "pcgrad", rows: int = 16) -> None:
    """Take one step, and compare every head's gradient with autograd's of its own loss."""
    targets = [target for target in problem.targets() if target.name in names]
    model = new_model(problem, targets)
    shared = problem.shared(model)
    assert isinstance(shared, torch.nn.Module)
    trunk = list(shared.parameters())
    own = [parameter for parameter in model.parameters() if all(parameter is not other for other in trunk)]
    features, losses = losses_of(problem, model, data, targets, rows)
    expected = torch.autograd.grad(sum(losses.values()), own, retain_graph=True)
    for name, loss in losses.items():
        to_trunk = torch.autograd.grad(loss, trunk, retain_graph=True)
        assert all(gradient.abs().sum() > 0.0 for gradient in to_trunk), name
        assert torch.autograd.grad(loss, features, retain_graph=True)[0].abs().sum() > 0.0, name
    last = problem.last_shared_layer(model)
    assert isinstance(last, torch.nn.Module)
    assert {id(parameter) for parameter in last.parameters()} <= {id(parameter) for parameter in trunk}
    plain = torch.autograd.grad(sum(losses.values()), trunk, retain_graph=True)

    surgery = Surgery(shared, method, tasks=[target.name for target in targets])
    surgery.loss(losses).backward()
    for parameter, gradient in zip(own, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trunk)
    if method == "sum":
        for parameter, gradient in zip(trunk, plain, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)


def check_seeded(problem: Problem) -> None:
    """Check that weights depend on the seed alone."""
    states = [new_model(problem, problem.targets(), seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def fault_of(problem: Problem, data_dir: Path | None) -> str:
    """Return the message with which loading fails: one line."""
    with pytest.raises(UsageError) as raised:
        problem.load(data_dir)
    message = str(raised.value)
    assert "\n" not in message
    return message

"""Task gradients and update of every kind of module, beside those of ``torch.autograd.grad`` on an unchanged copy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shared_models import MODELS, MODES, TASKS, Model, build

import mtlbench
from mtlbench.contract.observation import Matrix

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
WEIGHTS = [0.5, 2.0, 1.25]

Gradients = list[list[torch.Tensor | None]]


def oracle(model: Model, mode: str) -> tuple[Gradients, Gradients]:
    """Return every task's gradients of the trunk's trainable parameters, and of the heads' parameters."""
    shared = [p for p in model.trunk.parameters() if p.requires_grad]
    heads = list(model.heads.parameters())
    rows, own = [], []
    for loss in model.losses(mode):
        gradients = torch.autograd.grad(loss, [*shared, *heads], retain_graph=True, allow_unused=True)
        dense = [None if g is None else g.to_dense() for g in gradients]
        rows.append(dense[: len(shared)])
        own.append(dense[len(shared) :])
    return rows, own


def jacobian(rows: Gradients, like: list[torch.Tensor]) -> Matrix:
    return np.stack(
        [
            torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).detach().double().flatten()
                    for g, p in zip(row, like, strict=True)
                ]
            )
            for row in rows
        ]
    )


def assert_close(actual: torch.Tensor, expected: torch.Tensor, scale: float, message: str) -> None:
    """Assert agreement relative to the largest entry; rounding counts relative to the task's largest gradient."""
    actual, expected = actual.to_dense(), expected.detach()
    allowed = TOLERANCE[expected.dtype] * float(expected.abs().max()) + 8 * torch.finfo(expected.dtype).eps * scale
    assert actual.shape == expected.shape and actual.dtype == expected.dtype, message
    assert float((actual - expected).abs().max()) <= allowed, message


def scale_of(gradients: list[torch.Tensor | None]) -> float:
    return max(float(g.abs().max()) for g in gradients if g is not None)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MODELS)
def test_rows_and_update_are_those_of_autograd(
    name: str, mode: str, skip: bool, dtype: torch.dtype, task_rows: list[list[torch.Tensor]]
) -> None:
    model = build(name, dtype)
    plain = model.copy()
    rows, own = oracle(plain, mode)
    names = [n for n, p in model.trunk.named_parameters() if p.requires_grad]
    shared = [p for p in model.trunk.parameters() if p.requires_grad]
    with mtlbench.Surgery(model.trunk, "pcgrad", tasks=TASKS, skip_zero_rows=skip) as surgery:
        surgery.loss(model.losses(mode)).backward()
        for task, (row, views) in enumerate(zip(rows, task_rows, strict=True)):
            for position, (view, expected) in enumerate(zip(views, row, strict=True)):
                expected = torch.zeros_like(view) if expected is None else expected
                assert_close(view, expected, scale_of(row), f"{names[position]}, task {task}")
        update = mtlbench.aggregate("pcgrad", jacobian(rows, shared))
    sizes = np.cumsum([p.numel() for p in shared])[:-1]
    scale = sum(scale_of(row) for row in rows)
    for number, (parameter, expected) in enumerate(zip(shared, np.split(update, sizes), strict=True)):
        if all(row[number] is None for row in rows):
            assert parameter.grad is None, names[number]
            continue
        assert parameter.grad is not None, names[number]
        value = torch.from_numpy(expected).view(parameter.shape).to(dtype)
        assert_close(parameter.grad, value, scale, names[number])
    for number, parameter in enumerate(model.heads.parameters()):
        gradient = own[number // 2][number]
        assert parameter.grad is not None and gradient is not None
        assert_close(parameter.grad, gradient, scale_of(own[number // 2]), f"head {number}")
    for (key, buffer), other in zip(model.trunk.named_buffers(), plain.trunk.buffers(), strict=True):
        assert buffer.equal(other), key  # running statistics


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MODELS)
def test_joint_pass_is_that_of_the_weighted_sum(name: str, mode: str, skip: bool) -> None:
    model = build(name)
    plain = model.copy()
    torch.autograd.backward(plain.losses(mode), [torch.tensor(w, dtype=torch.float64) for w in WEIGHTS])
    spec = f"fixed[w={':'.join(map(str, WEIGHTS))}]"
    with mtlbench.Surgery(model.trunk, spec, tasks=TASKS, skip_zero_rows=skip) as surgery:
        surgery.loss(model.losses(mode)).backward()
        assert surgery.rows is None
    scale = scale_of([None if p.grad is None else p.grad.to_dense() for p in plain.trunk.parameters()])
    for (key, parameter), other in zip(model.trunk.named_parameters(), plain.trunk.parameters(), strict=True):
        if other.grad is None:
            assert parameter.grad is None, key
            continue
        assert parameter.grad is not None and parameter.grad.layout == other.grad.layout, key
        assert parameter.grad.stride() == other.grad.stride() if not other.grad.is_sparse else True, key
        assert_close(parameter.grad, other.grad.to_dense(), scale, key)

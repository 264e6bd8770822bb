"""Layers that skip rows of zeros: edges of their inputs, and that they do skip."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from shared_models import build
from torch import nn

import mtlbench
from mtlbench.engine.step import NotFinite
from mtlbench.surgery.skipping import live_rows

TaskRows = list[list[torch.Tensor]]


def gradients(module: nn.Module, losses: list[torch.Tensor]) -> list[np.ndarray]:
    parameters = list(module.parameters())
    return [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)]).numpy()
        for loss in losses
    ]


def flat(task_rows: TaskRows) -> list[np.ndarray]:
    return [torch.cat([view.flatten() for view in views]).numpy() for views in task_rows]


def test_rows_are_skipped_in_the_cases_of_the_agreement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the comparison with autograd would say nothing about skipping."""
    shares = []

    def seen(gradient: torch.Tensor) -> torch.Tensor | None:
        live = live_rows(gradient)
        shares.append(1.0 if live is None else len(live) / len(gradient))
        return live

    monkeypatch.setattr("mtlbench.surgery.skipping.live_rows", seen)
    for name in ("bert", "deberta", "modernbert", "tied_layers", "padding_idx"):
        model = build(name)
        shares.clear()
        with mtlbench.Surgery(model.trunk, "mgda", skip_zero_rows=True) as surgery:
            surgery.loss(model.losses("concatenated")).backward()
        assert min(shares) < 0.5, name


@pytest.mark.parametrize("rows", [0, 1, 40])
@pytest.mark.parametrize("width", [0, 3])
def test_batches_without_rows_and_layers_without_outputs(rows: int, width: int, task_rows: TaskRows) -> None:
    with warnings.catch_warnings():  # torch says that it initializes nothing
        warnings.simplefilter("ignore", UserWarning)
        layer, head = nn.Linear(4, width).double(), nn.Linear(4, 3).double()
    net = nn.ModuleList([layer, head])
    plain = copy.deepcopy(net)
    x = torch.linspace(-1.0, 1.0, 4 * rows, dtype=torch.float64).view(rows, 4)

    def losses(net: nn.ModuleList) -> list[torch.Tensor]:
        return [net[0](x).square().sum() + net[1](x).sum(), net[0](x).sum() + net[1](x).square().sum()]

    with mtlbench.Surgery(net, "mean", skip_zero_rows=True) as surgery:
        surgery.loss(losses(net)).backward()
    torch.stack(losses(plain)).mean().backward()
    for one, other in zip(net.parameters(), plain.parameters(), strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad)
    with mtlbench.Surgery(net, "mgda", skip_zero_rows=True) as surgery:
        if rows:
            surgery.loss(losses(net))
            for actual, expected in zip(flat(task_rows), gradients(plain, losses(plain)), strict=True):
                assert actual == pytest.approx(expected, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("zeros", [False, True], ids=["", "weights of 0"])
def test_an_input_that_is_not_finite_in_a_dead_row_is_found(bad: float, skip: bool, zeros: bool) -> None:
    """As in torch, 0 · ∞ makes the weight's gradient NaN, even though no loss reads the row."""
    net = nn.Linear(4, 3).double()
    if zeros:
        net.weight.data[0] = 0.0
    x = torch.ones(64, 4, dtype=torch.float64)
    x[50, 1] = bad
    with mtlbench.Surgery(net, "mgda", skip_zero_rows=skip) as surgery:
        y = net(x)[:40]
        with pytest.raises(NotFinite, match="gradient of task 0 is nan, first in weight"):
            surgery.loss([y.sum(), y.square().sum()])
    assert net.weight.grad is None


def test_an_output_that_overflows_in_a_dead_row_changes_nothing() -> None:
    net = nn.Linear(4, 3)
    x = torch.ones(64, 4)
    x[50] = 3e38
    net.weight.data.fill_(2.0)
    plain = copy.deepcopy(net)
    with mtlbench.Surgery(net, "mgda", skip_zero_rows=True) as surgery:
        y = net(x)
        assert not torch.isfinite(y[50]).all()
        surgery.loss([y[:40].sum(), y[:40].square().sum()]).backward()
    with mtlbench.Surgery(plain, "mgda") as surgery:
        y = plain(x)
        surgery.loss([y[:40].sum(), y[:40].square().sum()]).backward()
    assert net.weight.grad is not None and plain.weight.grad is not None
    torch.testing.assert_close(net.weight.grad, plain.weight.grad)


def test_a_gradient_that_is_not_finite_is_alive() -> None:
    gradient = torch.zeros(64, 4)
    gradient[3, 2], gradient[5, 0], gradient[7, 1] = torch.nan, torch.inf, 1e-30
    live = live_rows(gradient)
    assert live is not None and live.tolist() == [3, 5, 7]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_zeros_of_both_signs_are_dead_and_the_smallest_numbers_alive(dtype: torch.dtype) -> None:
    """The derivative of an activation times a zero is -0.0 in half of the cases."""
    gradient = torch.zeros(64, 4, dtype=dtype)
    gradient[::2] = -0.0
    gradient[1, 1] = gradient[2, 3] = -torch.finfo(dtype).smallest_normal
    gradient[9] = -1.0
    live = live_rows(gradient)
    assert live is not None and live.tolist() == [1, 2, 9]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_token_numbers_of_every_type(dtype: torch.dtype, task_rows: TaskRows) -> None:
    table = nn.Embedding(30, 4, padding_idx=2).double()
    plain = copy.deepcopy(table)
    numbers = (torch.arange(48) % 7).view(6, 8).to(dtype)

    def losses(table: nn.Embedding) -> list[torch.Tensor]:
        first, second = table(numbers), table(numbers[:2].long())
        return [first[:2].square().sum() + second.sum(), second.exp().sum()]

    with mtlbench.Surgery(table, "mgda", skip_zero_rows=True) as surgery:
        for _ in range(2):
            table.zero_grad()
            surgery.loss(losses(table)).backward()
            for actual, expected in zip(flat(task_rows), gradients(plain, losses(plain)), strict=True):
                assert actual == pytest.approx(expected, rel=1e-12, abs=1e-14)
    assert table.weight.grad is not None and table.weight.grad[2].eq(0.0).all()


def test_a_table_that_is_whole_in_one_step_and_touched_in_the_next(task_rows: TaskRows) -> None:
    table = nn.Embedding(30, 4).double()
    plain = copy.deepcopy(table)
    numbers = torch.arange(40) % 5

    def losses(table: nn.Embedding, step: int) -> list[torch.Tensor]:
        rows = table(numbers + step)
        whole = table.weight.square().sum() if step % 2 else 0.0
        return [rows.sum() + whole, rows.square().sum()]

    with mtlbench.Surgery(table, "mgda", skip_zero_rows=True) as surgery:
        for step in range(4):
            table.zero_grad()
            surgery.loss(losses(table, step)).backward()
            expected = gradients(plain, losses(plain, step))
            for actual, other in zip(flat(task_rows), expected, strict=True):
                assert actual == pytest.approx(other, rel=1e-12, abs=1e-14)
            update = mtlbench.aggregate("mgda", np.stack(expected))
            assert table.weight.grad is not None
            assert table.weight.grad.flatten().numpy() == pytest.approx(update, rel=1e-9, abs=1e-12)


def test_tasks_that_are_absent_in_some_steps(task_rows: TaskRows) -> None:
    """Rows of other tasks keep what they had; none of it may come back."""
    model, plain = build("bert"), build("bert")
    with mtlbench.Surgery(model.trunk, "mgda", tasks=3, skip_zero_rows=True) as surgery:
        for absent in (None, 1, 0, None, 2, 1):
            losses: list[torch.Tensor | None] = [*model.losses("separate")]
            expected = [loss for task, loss in enumerate(plain.losses("separate")) if task != absent]
            if absent is not None:
                losses[absent] = None
            surgery.loss(losses).backward()
            parameters = list(plain.trunk.parameters())
            for task, loss in enumerate(expected):
                grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
                for view, grad in zip(task_rows[task], grads, strict=True):
                    torch.testing.assert_close(
                        view, torch.zeros_like(view) if grad is None else grad, atol=1e-13, rtol=1e-9
                    )

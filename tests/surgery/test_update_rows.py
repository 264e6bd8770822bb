"""The update overwrites a row, and nobody who still uses an earlier one notices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from shared_models import build
from torch import nn

import mtlbench

ABSENT = (None, None, 1, 0, None, 2, 1, None)
"""The task without a loss, step by step."""


def zero_first(surgery: mtlbench.Surgery, trunk: nn.Module, losses: Callable[[], list[torch.Tensor | None]]) -> None:
    trunk.zero_grad()
    surgery.loss(losses()).backward()


def zero_before_backward(
    surgery: mtlbench.Surgery, trunk: nn.Module, losses: Callable[[], list[torch.Tensor | None]]
) -> None:
    loss = surgery.loss(losses())
    trunk.zero_grad()
    loss.backward()


def fill_with_zeros(
    surgery: mtlbench.Surgery, trunk: nn.Module, losses: Callable[[], list[torch.Tensor | None]]
) -> None:
    trunk.zero_grad(set_to_none=False)
    surgery.loss(losses()).backward()


def alternate(surgery: mtlbench.Surgery, trunk: nn.Module, losses: Callable[[], list[torch.Tensor | None]]) -> None:
    order = zero_first if surgery.steps % 3 else zero_before_backward  # type: ignore[attr-defined]
    surgery.steps += 1  # type: ignore[attr-defined]
    order(surgery, trunk, losses)


def gradients(name: str, order: Callable[..., None], skip: bool, keep: bool = False) -> list[list[torch.Tensor]]:
    """Return every step's ``.grad``: copies, or the tensors themselves."""
    model = build(name)
    history = []
    with mtlbench.Surgery(model.trunk, "mgda", tasks=3, skip_zero_rows=skip) as surgery:
        surgery.steps = 0  # type: ignore[attr-defined]
        for absent in ABSENT:

            def losses(absent: int | None = absent) -> list[torch.Tensor | None]:
                return [None if task == absent else loss for task, loss in enumerate(model.losses("separate"))]

            order(surgery, model.trunk, losses)
            grads = [p.grad for p in model.trunk.parameters() if p.grad is not None]
            history.append(grads if keep else [grad.clone() for grad in grads])
            with torch.no_grad():
                for parameter in model.trunk.parameters():
                    if parameter.grad is not None:
                        parameter -= 0.1 * parameter.grad.to_dense()
        assert surgery.rows is not None and len(surgery.rows.blocks[0].buffer) <= 4
    return history


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
@pytest.mark.parametrize("name", ["bert", "tied_layers", "sparse_table", "batch_norm"])
@pytest.mark.parametrize("order", [zero_before_backward, fill_with_zeros, alternate])
def test_every_order_of_a_loop_gives_the_same_bits(name: str, order: Callable[..., None], skip: bool) -> None:
    if order is fill_with_zeros and name == "sparse_table":
        pytest.skip("torch adds a sparse gradient to a dense one of zeros, so the layouts differ by right")
    for actual, expected in zip(gradients(name, order, skip), gradients(name, zero_first, skip), strict=True):
        if order is fill_with_zeros:  # a parameter that no loss reaches keeps zeros, where it had None
            expected = [one for one in expected if one.to_dense().any()]
            actual = [one for one in actual if one.to_dense().any()]
        assert all(torch.equal(a.to_dense(), b.to_dense()) for a, b in zip(actual, expected, strict=True))


@pytest.mark.parametrize("skip", [False, True], ids=["", "skipping"])
def test_gradients_that_a_user_keeps_do_not_change(skip: bool) -> None:
    kept, copies = gradients("bert", zero_first, skip, keep=True), gradients("bert", zero_first, skip)
    for actual, expected in zip(kept, copies, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def test_losses_that_wait_for_one_backward_pass() -> None:
    model, plain = build("bert"), build("bert")
    with mtlbench.Surgery(model.trunk, "pcgrad") as surgery:
        first, second = surgery.loss(model.losses("separate")), surgery.loss(model.losses("shared"))
        (first + second).backward()
    with mtlbench.Surgery(plain.trunk, "pcgrad") as surgery:
        surgery.loss(plain.losses("separate")).backward()
        surgery.loss(plain.losses("shared")).backward()
    for actual, expected in zip(model.trunk.parameters(), plain.trunk.parameters(), strict=True):
        assert (actual.grad is None) == (expected.grad is None)
        if actual.grad is not None and expected.grad is not None:
            torch.testing.assert_close(actual.grad, expected.grad, rtol=1e-12, atol=1e-14)

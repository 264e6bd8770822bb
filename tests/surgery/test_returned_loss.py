"""The loss that Surgery returns is a loss: what may be done with it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fault_cases import gradients, message, same
from library_cases import Toy

from mtlbench import Surgery

# What can be wrong with the loss that is returned


@pytest.mark.parametrize("method", ["pcgrad", "sum"])
def test_the_returned_loss_is_used_in_a_wrong_way(method: str) -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, method)
    loss = surgery.loss(toy.losses())
    assert "create_graph" in message(lambda: loss.backward(create_graph=True))
    assert "create_graph" in message(lambda: torch.autograd.grad(loss, toy.shared, create_graph=True))
    assert all(parameter.grad is None for parameter in toy.parameters())
    loss.backward(retain_graph=True)
    before = gradients(toy)
    assert "backpropagated already" in message(loss.backward)
    assert "backpropagated already" in message(lambda: torch.autograd.grad(loss, toy.shared))
    same(gradients(toy), before)


@pytest.mark.parametrize("method", ["pcgrad", "sum", "moco"])
def test_two_losses_alive_are_delivered_in_any_order(method: str) -> None:
    toy, other = Toy(), Toy()
    surgery, reference = Surgery(toy.trunk, method), Surgery(other.trunk, method)
    first, second = surgery.loss(toy.losses()), surgery.loss([2.0 * loss for loss in toy.losses()])
    surgery.loss(toy.losses())  # never backpropagated
    second.backward()
    first.backward()
    reference.loss(other.losses()).backward()
    reference.loss([2.0 * loss for loss in other.losses()]).backward()
    for one, two in zip(gradients(toy), gradients(other), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("method", ["pcgrad", "sum"])
def test_arithmetic_on_the_returned_loss(method: str) -> None:
    toy, other, grad = Toy(), Toy(), Toy()
    regularizer = 0.1 * sum(p.square().sum() for p in toy.parameters())
    loss = Surgery(toy.trunk, method).loss(toy.losses())
    assert loss.item() == pytest.approx(float(loss.detach()))
    (0.5 * loss / 2 + regularizer).backward()
    Surgery(other.trunk, method).loss(other.losses()).backward()
    for actual, reference, parameter in zip(gradients(toy), gradients(other), toy.parameters(), strict=True):
        assert reference is not None
        torch.testing.assert_close(actual, 0.25 * reference + 0.2 * parameter.detach())
    direct = torch.autograd.grad(Surgery(grad.trunk, method).loss(grad.losses()), list(grad.parameters()))
    same(list(direct), gradients(other))


def test_losses_of_one_surgery_in_another() -> None:
    toy = Toy()
    loss = Surgery(toy.trunk).loss(toy.losses())
    assert "that is not in shared" in message(lambda: Surgery(toy.trunk, "sum").loss([loss, toy.losses()[0]]))


def test_under_no_grad_and_inference_mode() -> None:
    toy = Toy()
    losses = toy.losses()
    with torch.inference_mode():
        assert "outside torch.inference_mode()" in message(lambda: Surgery(toy.trunk).loss(losses))
    with torch.no_grad():
        Surgery(toy.trunk).loss(losses).backward()  # the graphs are there
    assert np.isfinite(toy.update()).all()

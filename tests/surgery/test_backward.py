"""The methods in a training loop of your own."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from library_cases import TASKS, Between, Biggest, Named, Representation, Signs, Toy, fault, flat
from torch import nn

from mtlbench import TaskGradients, UsageError, aggregate, backward, get_method, weights
from mtlbench.contract.method import Method
from mtlbench.contract.observation import Matrix, Vector
from mtlbench.engine.step import NotFinite
from mtlbench.errors import CellError
from mtlbench.surgery import backward as backward_module


def weighted(*given: Any, **options: Any) -> Vector:
    actual = backward(*given, **options)
    assert actual is not None
    return actual


def test_backward_of_sum_is_that_of_torch() -> None:
    ours, theirs = Toy(), Toy()
    assert weighted(ours.losses(), "sum", ours.trunk).tolist() == [1.0] * TASKS
    torch.autograd.backward(torch.stack(theirs.losses()).sum())
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("name", ["pcgrad", "mgda", "cagrad"])
def test_backward_is_aggregate_on_the_jacobian(name: str) -> None:
    toy = Toy()
    losses = [float(loss.detach()) for loss in toy.losses()]
    rows = toy.jacobian()
    assert (rows @ rows.T).min() < 0.0  # or PCGrad would be the sum
    used = weighted(toy.losses(), name, toy.trunk)
    assert toy.update() == pytest.approx(aggregate(name, rows, losses=losses), rel=1e-9, abs=1e-14)
    assert used == pytest.approx(weights(name, rows @ rows.T, losses=losses), rel=1e-9)


def test_heads_get_their_own_plain_gradients() -> None:
    toy = Toy()
    used = weighted(toy.losses(), "pcgrad", toy.trunk)
    assert np.abs(used - 1.0).max() > 1e-3
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(toy.head_gradient(task), rel=1e-12)


def test_heads_of_gradnorm_get_weighted_gradients() -> None:
    toy, method = Toy(), get_method("gradnorm")
    used = np.ones(TASKS)
    for _ in range(3):
        toy.zero_grad()
        used = weighted(toy.losses(), method, toy.trunk, last_shared_layer=toy.trunk[2])
    assert np.abs(used - 1.0).max() > 1e-3
    assert toy.update() == pytest.approx(used @ toy.jacobian(), rel=1e-10, abs=1e-14)
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(used[task] * toy.head_gradient(task), rel=1e-12)


def test_gradnorm_balances_the_layer_that_it_was_given() -> None:
    """Two of its steps in one's own loop are those on the Gram matrix of the layer's gradients."""
    toy, method, by_hand = Toy(), get_method("gradnorm"), get_method("gradnorm")
    layer = list(toy.trunk[2].parameters())
    losses = toy.losses()
    rows = np.stack([flat(torch.autograd.grad(loss, layer, retain_graph=True)) for loss in losses])
    for _ in range(3):
        used = weighted(toy.losses(), method, toy.trunk, last_shared_layer=layer)
        reference = weights(by_hand, rows @ rows.T, losses=[float(loss.detach()) for loss in losses])
        assert used == pytest.approx(reference, rel=1e-10)


@pytest.mark.parametrize("name", ["sum", "pcgrad"])
def test_gradients_are_added_to_what_is_there(name: str) -> None:
    once, twice = Toy(), Toy()
    backward(once.losses(), name, once.trunk)
    for parameter in twice.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    backward(twice.losses(), name, twice.trunk)
    for one, two in zip(once.parameters(), twice.parameters(), strict=True):
        assert one.grad is not None and two.grad is not None
        torch.testing.assert_close(two.grad, one.grad + 2.0)


def test_two_calls_add_up_and_zeroing_starts_again() -> None:
    toy = Toy()
    backward(toy.losses(), "sum", toy.trunk)
    first = toy.update()
    backward(toy.losses(), "sum", toy.trunk)
    assert toy.update() == pytest.approx(2.0 * first, rel=1e-13)
    toy.zero_grad(set_to_none=False)
    backward(toy.losses(), "sum", toy.trunk)
    assert toy.update() == pytest.approx(first, rel=1e-13)


def test_shared_is_a_module_or_a_list() -> None:
    actual = []
    for given in ("module", "list"):
        toy = Toy()
        backward(toy.losses(), "mgda", toy.trunk if given == "module" else toy.shared)
        actual.append(toy.update().tolist())
    assert actual[0] == actual[1]


def test_frozen_parameters_are_left_alone() -> None:
    toy = Toy()
    for parameter in toy.trunk[0].parameters():
        parameter.requires_grad_(False)
    backward(toy.losses(), "mgda", toy.trunk)
    assert all(parameter.grad is None for parameter in toy.trunk[0].parameters())
    assert all(parameter.grad is not None for parameter in toy.trunk[2].parameters())


def test_losses_of_separate_forwards_work_too() -> None:
    together, apart = Toy(), Toy()
    backward(together.losses(), "cagrad", together.trunk)
    backward([apart.losses()[task] for task in range(TASKS)], "cagrad", apart.trunk)
    assert apart.update() == pytest.approx(together.update(), rel=1e-12)


def test_an_optimizer_trains_with_it() -> None:
    toy = Toy()
    optimizer = torch.optim.SGD(toy.parameters(), lr=0.02)
    before = [float(loss.detach()) for loss in toy.losses()]
    for _ in range(60):
        optimizer.zero_grad()
        backward(toy.losses(), "mgda", toy.trunk)
        optimizer.step()
    assert all(after < start for after, start in zip([float(x.detach()) for x in toy.losses()], before, strict=True))


# State of methods given by name


def step_gradnorm(toy: Toy) -> Matrix:
    return weighted(toy.losses(), "gradnorm", toy.trunk, last_shared_layer=toy.trunk[2])


def test_state_of_a_name_is_kept_with_the_model() -> None:
    toy, method = Toy(), get_method("gradnorm")
    by_name = [step_gradnorm(toy).tolist() for _ in range(4)]
    other = Toy()
    by_object = [
        weighted(other.losses(), method, other.trunk, last_shared_layer=other.trunk[2]).tolist() for _ in range(4)
    ]
    assert by_name == by_object and by_name[0] != by_name[1]


def test_two_models_do_not_share_state() -> None:
    one, other = Toy(), Toy(seed=1)
    for _ in range(3):
        step_gradnorm(one)
    assert step_gradnorm(other).tolist() == [1.0] * TASKS
    assert step_gradnorm(one).tolist() != [1.0] * TASKS


def test_two_specs_on_one_model_do_not_share_state() -> None:
    toy = Toy()
    step_gradnorm(toy)
    used = weighted(toy.losses(), "gradnorm[alpha=0.5]", toy.trunk, last_shared_layer=toy.trunk[2])
    assert used.tolist() == [1.0] * TASKS


def test_state_goes_with_the_model() -> None:
    toy = Toy()
    step_gradnorm(toy)
    gc.collect()
    kept = len(backward_module._KEPT)
    del toy
    gc.collect()
    assert len(backward_module._KEPT) == kept - 1


def test_no_losses() -> None:
    assert "at least one loss" in fault(backward, [], "sum", Toy().trunk)


def test_nothing_shared() -> None:
    toy = Toy()
    assert "shared has no parameters" in fault(backward, toy.losses(), "sum", [])
    assert "shared has no parameters" in fault(backward, toy.losses(), "sum", nn.Tanh())


def test_gradnorm_without_its_layer() -> None:
    toy = Toy()
    assert "last_shared_layer" in fault(backward, toy.losses(), "gradnorm", toy.trunk)
    assert all(parameter.grad is None for parameter in toy.parameters())
    backward(toy.losses(), "gradnorm[parameters_of=shared]", toy.trunk)


def test_gradnorm_with_a_layer_that_is_not_shared() -> None:
    toy = Toy()
    assert "last_shared_layer" in fault(backward, toy.losses(), "gradnorm", toy.trunk, last_shared_layer=toy.heads[0])


def test_a_parameter_of_two_losses_that_is_not_shared() -> None:
    toy = Toy()
    message = fault(backward, toy.losses(), "sum", toy.trunk[2])
    assert "losses 0 and 1" in message and "(6, 5)" in message and "add it to shared" in message
    assert all(parameter.grad is None for parameter in toy.parameters())


@pytest.mark.parametrize("name", ["sum", "pcgrad"])
def test_a_loss_that_is_nan_is_refused(name: str) -> None:
    toy = Toy()
    losses = toy.losses()
    losses[1] = losses[1] * torch.nan
    with pytest.raises(NotFinite, match="loss of task 1 is nan"):
        backward(losses, name, toy.trunk)
    assert all(parameter.grad is None for parameter in toy.trunk.parameters())


@pytest.mark.parametrize("method", [Biggest(), Signs()], ids=lambda method: method.name)
def test_backward_of_methods_that_read_gradients(method: Method) -> None:
    toy = Toy()
    reference = aggregate(method, toy.jacobian())
    actual = backward(toy.losses(), method, toy.trunk)
    assert (actual is None) == (method.returns == "update")
    assert toy.update() == pytest.approx(reference, rel=1e-10, abs=1e-14)
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(toy.head_gradient(task), rel=1e-12)


@pytest.mark.parametrize("change", [lambda update: update[1:], lambda update: update * torch.nan])
def test_a_bad_update_names_the_method(change: Any) -> None:
    toy = Toy()
    with pytest.raises(CellError, match="method biggest returned an update"):
        aggregate(Biggest(change), np.eye(3))
    with pytest.raises(CellError, match="method biggest returned an update"):
        backward(toy.losses(), Biggest(change), toy.trunk)
    assert all(parameter.grad is None for parameter in toy.trunk.parameters())


def test_backward_with_further_batches() -> None:
    toy, one, other, method = Toy(), Toy(), Toy(), Between()
    for model, seed in ((one, 1), (other, 2)):
        model.load_state_dict(toy.state_dict())
        model.inputs = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    first, second = one.jacobian(), other.jacobian()

    def losses(model: Toy) -> list[torch.Tensor]:
        toy.inputs, before = model.inputs, toy.inputs  # the further batches go through the same model
        actual = toy.losses()
        toy.inputs = before
        return actual

    used = weighted(toy.losses(), method, toy.trunk, further=[losses(one), losses(other)])
    assert method.seen == pytest.approx(first @ second.T, rel=1e-10)
    assert toy.update() == pytest.approx(used @ toy.jacobian(), rel=1e-10, abs=1e-14)
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(toy.head_gradient(task), rel=1e-12)


def test_further_batches_that_do_not_fit() -> None:
    toy = Toy()
    losses = toy.losses()
    for further in ([], [losses], [losses, losses[:2]]):
        message = fault(backward, losses, Between(), toy.trunk, further=further)
        assert message == "method between takes 3 batches a step: give further= 2 lists of 3 losses"
    assert "method sum takes 1 batch" in fault(backward, losses, "sum", toy.trunk, further=[losses])
    detached = [loss.detach() for loss in losses]
    assert "graph" in fault(backward, losses, Between(), toy.trunk, further=[losses, detached])
    assert all(parameter.grad is None for parameter in toy.parameters())


@pytest.mark.parametrize("given", ["tensor", "list"])
def test_backward_with_the_representation(given: str) -> None:
    toy, method = Toy(), Representation()
    features = toy.trunk(toy.inputs)
    losses = [
        ((head(features)[:, 0] - target) ** 2).mean() * 3.0**task
        for task, (head, target) in enumerate(zip(toy.heads, toy.targets.T, strict=True))
    ]
    rows = np.stack([flat(torch.autograd.grad(loss, features, retain_graph=True)) for loss in losses])
    reference = toy.jacobian()
    used = weighted(losses, method, toy.trunk, representation=features if given == "tensor" else [features])
    assert method.seen == pytest.approx(rows @ rows.T, rel=1e-12)
    assert toy.update() == pytest.approx(used @ reference, rel=1e-10, abs=1e-14)


def test_a_missing_representation_is_named() -> None:
    toy = Toy()
    message = fault(backward, toy.losses(), Representation(), toy.trunk)
    assert message == "method of-representation reads the gradients of the representation: give representation"
    assert all(parameter.grad is None for parameter in toy.trunk.parameters())


def test_clipping_is_part_of_backward() -> None:
    @dataclass
    class Clipped(Named):
        @property
        def clip_norm(self) -> float | None:
            return 0.125

    toy = Toy()
    assert weighted(toy.losses(), Clipped(), toy.trunk).tolist() == [1.0] * TASKS
    assert np.linalg.norm(toy.update()) == pytest.approx(0.125)
    assert toy.head_update(0) == pytest.approx(toy.head_gradient(0), rel=1e-12)


# The gradients themselves


def test_task_gradients_are_those_of_autograd() -> None:
    toy = Toy()
    actual = TaskGradients(toy.losses(), toy.trunk)
    assert actual.jacobian.numpy() == pytest.approx(toy.jacobian(), rel=1e-12, abs=1e-15)
    assert actual.gram == pytest.approx(toy.jacobian() @ toy.jacobian().T, rel=1e-10)
    assert actual.losses == pytest.approx([float(loss.detach()) for loss in toy.losses()])
    assert all(parameter.grad is None for parameter in toy.parameters())


def test_task_gradients_with_weights_of_ones_own() -> None:
    toy, other = Toy(), Toy()
    own = np.arange(1.0, TASKS + 1.0)
    actual = TaskGradients(toy.losses(), toy.trunk)
    actual.backward(own)
    assert toy.update() == pytest.approx(own @ other.jacobian(), rel=1e-12)
    assert actual.combine(own).numpy() == pytest.approx(own @ other.jacobian(), rel=1e-12)
    for task in range(TASKS):
        assert toy.head_update(task) == pytest.approx(other.head_gradient(task), rel=1e-12)
    actual.backward(own)
    assert toy.update() == pytest.approx(2.0 * own @ other.jacobian(), rel=1e-12)


def test_task_gradients_and_a_method_are_backward() -> None:
    toy, other = Toy(), Toy()
    actual = TaskGradients(toy.losses(), toy.trunk)
    actual.backward(weights("mgda", actual.gram))
    backward(other.losses(), "mgda", other.trunk)
    assert toy.update() == pytest.approx(other.update(), rel=1e-9)


def test_task_gradients_refuse_bad_input() -> None:
    toy = Toy()
    with pytest.raises(UsageError, match="at least one loss"):
        TaskGradients([], toy.trunk)
    with pytest.raises(UsageError, match="graph"):
        TaskGradients([torch.ones(())], toy.trunk)
    with pytest.raises(UsageError, match="weights must be"):
        TaskGradients(toy.losses(), toy.trunk).combine([1.0])

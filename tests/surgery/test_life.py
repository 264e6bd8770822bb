"""A model and its surgery over time: parameters replaced, frozen and cast; copies; closing; saved states."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fault_cases import gradients, message, same
from library_cases import Toy
from torch import nn

from mtlbench import Surgery

# The life of a model and of its surgery


def test_parameters_of_a_module_may_be_replaced() -> None:
    toy, other = Toy(), Toy()
    surgery = Surgery(toy.trunk, "pcgrad", heads=toy.heads, gram_of="last_shared_layer", last_shared_layer=toy.trunk[2])
    reference = Surgery(other.trunk, "pcgrad", gram_of="last_shared_layer", last_shared_layer=other.trunk[2])
    surgery.loss(toy.losses()).backward()
    toy.zero_grad()
    toy.load_state_dict({name: value.clone() for name, value in toy.state_dict().items()}, assign=True)
    surgery.loss(toy.losses()).backward()
    reference.loss(other.losses()).backward()
    same(gradients(toy), gradients(other))


def test_parameters_that_were_listed_and_then_replaced() -> None:
    toy = Toy()
    surgery = Surgery(toy.shared)
    toy.trunk[0].weight = nn.Parameter(toy.trunk[0].weight.detach().clone())
    assert "make a new Surgery, if it replaced a shared one" in message(lambda: surgery.loss(toy.losses()))
    for layer in (toy.trunk[0], toy.trunk[2]):
        layer.weight = nn.Parameter(layer.weight.detach().clone())
        layer.bias = nn.Parameter(layer.bias.detach().clone())
    assert "was a parameter replaced?" in message(lambda: surgery.loss(toy.losses()[:1]))


@pytest.mark.parametrize("method", ["pcgrad", "moco", "rlw"])
def test_types_may_change_after_construction(method: str) -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, method)
    if method != "moco":  # which keeps K × P numbers of the first type
        surgery.loss(toy.losses()).backward()
    toy.float().zero_grad()
    toy.inputs, toy.targets = toy.inputs.float(), toy.targets.float()
    surgery.loss(toy.losses()).backward()
    assert toy.trunk[0].weight.grad is not None and toy.trunk[0].weight.grad.dtype == torch.float32


def test_the_last_shared_layer_is_not_on_a_loss_s_way() -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, "pcgrad", gram_of="last_shared_layer", last_shared_layer=toy.trunk[2])
    losses = [*toy.losses()[:2], toy.trunk[0](toy.inputs).square().mean()]
    assert "loss 2 does not reach last_shared_layer" in message(lambda: surgery.loss(losses))
    toy.trunk[2].requires_grad_(False)
    assert "last_shared_layer has no parameter that requires a gradient" in message(lambda: surgery.loss(toy.losses()))


@pytest.mark.parametrize("method", ["pcgrad", "sum"])
def test_a_parameter_is_frozen_after_the_forward(method: str) -> None:
    toy = Toy()
    losses = toy.losses()
    toy.trunk[2].weight.requires_grad_(False)
    Surgery(toy.trunk, method).loss(losses).backward()
    assert toy.trunk[2].weight.grad is None and toy.trunk[2].bias.grad is not None


def test_everything_is_frozen_later() -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk)
    losses = toy.losses()
    toy.trunk.requires_grad_(False)
    assert "unfreeze some" in message(lambda: surgery.loss(losses))


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_of_a_model_and_its_surgery(how: str, skip: bool) -> None:
    toy, other = Toy(), Toy()
    surgery, reference = (
        Surgery(toy.trunk, "rlw", skip_zero_rows=skip),
        Surgery(other.trunk, "rlw", skip_zero_rows=skip),
    )
    for model, own in ((toy, surgery), (other, reference)):
        own.loss(model.losses()).backward()
        model.zero_grad()
    pair = (toy, surgery)
    toy_copy, surgery_copy = copy.deepcopy(pair) if how == "deepcopy" else pickle.loads(pickle.dumps(pair))
    for model, own in ((toy_copy, surgery_copy), (other, reference)):
        own.loss(model.losses()).backward()
    same(gradients(toy_copy), gradients(other))
    assert all(parameter.grad is None for parameter in toy.parameters())


def test_copies_of_a_model_with_replaced_layers() -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, skip_zero_rows=True)
    surgery.loss(toy.losses()).backward()
    before = gradients(toy)
    alone = copy.deepcopy(toy)
    with torch.no_grad():
        for parameter in alone.trunk.parameters():
            parameter.zero_()
    assert not alone.trunk(alone.inputs).any() and toy.trunk(toy.inputs).any()  # the copy's layers are its own
    alone.losses()[0].backward()
    same(gradients(toy), before)
    file = io.BytesIO()
    torch.save(toy.state_dict(), file)
    file.seek(0)
    Toy(seed=1).load_state_dict(torch.load(file, weights_only=True))


def test_two_surgeries_on_one_model() -> None:
    toy, other = Toy(), Toy()
    first, second = (Surgery(toy.trunk, method, skip_zero_rows=True) for method in ("pcgrad", "mgda"))
    plain = [Surgery(other.trunk, method) for method in ("pcgrad", "mgda")]
    for model, pair in ((toy, (first, second)), (other, plain)):
        pair[0].loss(model.losses()).backward()
        pair[1].loss(model.losses()).backward()
    first.close()
    first.close()
    first.loss(toy.losses()).backward()
    with second, second:
        second.loss(toy.losses()).backward()
    for own in plain:
        own.loss(other.losses()).backward()
    for one, two in zip(gradients(toy), gradients(other), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-13)
    assert all("forward" not in vars(module) for module in toy.modules())


def spoilt(state: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    return {**state, name: value}


@pytest.mark.parametrize(
    "change",
    [
        lambda state: None,
        lambda state: [],
        lambda state: {},
        lambda state: spoilt(state, "method", 3),
        lambda state: spoilt(state, "steps", "x"),
        lambda state: spoilt(state, "steps", -1),
        lambda state: spoilt(state, "steps", True),
        lambda state: spoilt(state, "renewed", 3),
        lambda state: spoilt(state, "renewed", [[0, 1, 2], [1.0]]),
        lambda state: spoilt(state, "renewed", [[0], [float("nan")]]),
        lambda state: spoilt(state, "renewed", [["x"], [1.0]]),
        lambda state: spoilt(state, "renewed", [[10**30], ["x"]]),
    ],
)
def test_a_wrong_state(change: Callable[[dict[str, Any]], Any]) -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, "gradnorm[parameters_of=shared]", renew_every=2)
    surgery.loss(toy.losses()).backward()
    state = surgery.state_dict()
    assert "state" in message(lambda: surgery.load_state_dict(change(state)))
    assert repr(surgery.state_dict()) == repr(state)
    surgery.load_state_dict(state)


def test_the_state_of_another_method() -> None:
    toy = Toy()
    other = Surgery(toy.trunk, "gradnorm[parameters_of=shared]")
    other.loss(toy.losses()).backward()
    surgery = Surgery(toy.trunk, "rlw")
    state = repr(surgery.state_dict())
    assert "gradnorm" in message(lambda: surgery.load_state_dict(other.state_dict()))
    assert repr(surgery.state_dict()) == state

"""Faults of a step's losses: each is one line of our own, and the next good step is as if it had not happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from fault_cases import NAMES, Call, but, freed, gradients, infinite_slope, message, same
from library_cases import TASKS, Between, Toy
from torch import nn

from mtlbench import Surgery, TaskGradients, backward

# What can be wrong with Surgery.loss(...)


def without_graph(mode: Any, toy: Toy) -> list[torch.Tensor]:
    with mode():
        return toy.losses()


def changed_in_place(toy: Toy) -> list[torch.Tensor]:
    losses = toy.losses()
    with torch.no_grad():
        toy.trunk[2].weight.mul_(1.0)
    return losses


def of_inputs(toy: Toy) -> torch.Tensor:
    return toy.inputs.clone().requires_grad_().sum()


STEPS: list[tuple[str, Call, str]] = [
    ("None", lambda t: None, "not None"),
    ("text", lambda t: "abc", "not a str"),
    ("number", lambda t: 3.0, "not a float"),
    ("module", lambda t: t, "not a Toy"),
    ("set", lambda t: set(t.losses()), "no order"),
    ("empty", lambda t: [], "at least one loss"),
    ("empty tensor", lambda t: torch.zeros(0), "at least one loss"),
    ("sum", lambda t: sum(t.losses()), "not their sum"),
    ("matrix", lambda t: torch.stack(t.losses())[None], "shape (1, 3)"),
    ("all None", lambda t: [None] * TASKS, "all losses are None"),
    ("too few", lambda t: t.losses()[:2], "2 losses for 3 tasks"),
    ("too many", lambda t: [*t.losses(), *t.losses()], "6 losses for 3 tasks"),
    ("other keys", lambda t: dict(zip("abd", t.losses(), strict=True)), "keys a, b, d, but the tasks are a, b, c"),
    ("a key twice", lambda t: {1: t.losses()[0], "1": t.losses()[1], 2: None}, "two keys of the same name"),
    ("a key of two lines", lambda t: {"a\nb": t.losses()[0]}, "one line of text"),
    ("numbers", lambda t: but(t, torch.Tensor.item), "loss b is a float, not a tensor with a graph: pass it before"),
    ("arrays", lambda t: but(t, lambda loss: loss.detach().numpy()), "loss b is a ndarray"),
    ("lists", lambda t: but(t, lambda loss: [loss]), "loss b is a list"),
    ("truth", lambda t: but(t, lambda loss: True), "loss b is a bool"),
    ("unreduced", lambda t: but(t, lambda loss: loss * t.inputs[:, 0]), "shape (12,): reduce it"),
    ("no element", lambda t: but(t, lambda loss: (loss * t.inputs[:, 0])[:0]), "shape (0,): reduce it"),
    ("complex", lambda t: but(t, lambda loss: loss.to(torch.complex128)), "loss b is complex"),
    ("whole", lambda t: but(t, lambda loss: torch.tensor(1)), "loss b has no graph"),
    ("detached", lambda t: but(t, torch.Tensor.detach), "loss b has no graph"),
    ("no_grad", lambda t: without_graph(torch.no_grad, t), "loss a has no graph"),
    ("inference mode", lambda t: without_graph(torch.inference_mode, t), "loss a has no graph"),
    ("meta", lambda t: but(t, lambda loss: torch.ones((), device="meta", requires_grad=True) * 2), "meta device"),
    ("same twice", lambda t: (lambda x: [x[0], x[1], x[0]])(t.losses()), "losses a and c are the same tensor"),
    ("leaf", lambda t: but(t, lambda loss: nn.Parameter(torch.ones(()))), "loss b reaches no shared parameter"),
    ("inputs alone", lambda t: but(t, lambda loss: of_inputs(t)), "loss b reaches no shared parameter"),
    ("other model", lambda t: Toy().losses(), "loss a reaches no shared parameter"),
    ("freed", freed, "freed by an earlier backward pass"),
    ("changed in place", changed_in_place, "changed in place after the forward"),
    ("NaN", lambda t: but(t, lambda loss: loss * torch.nan), "loss of task b is nan"),
    ("infinite", lambda t: but(t, lambda loss: loss * torch.inf), "loss of task b is inf"),
    ("mean of nothing", lambda t: but(t, lambda loss: (loss * t.inputs[:0]).mean()), "loss of task b is nan"),
    ("gradient", lambda t: but(t, lambda loss: loss + infinite_slope(t.trunk[2].bias)), "is nan, first in 2.bias"),
    ("head", lambda t: but(t, lambda loss: loss + infinite_slope(t.heads[1].bias)), "task b is nan, first in its head"),
]  # fmt: skip
METHODS = ["pcgrad", "gradnorm[parameters_of=shared]", "rlw", "moco"]


@pytest.mark.parametrize("method", METHODS)
def test_after_a_fault_the_next_step_is_as_if_nothing_had_happened(method: str) -> None:
    """All faults of a call in one run of good steps, against a run without them: bits, state and weights."""
    toy, other = Toy(), Toy()
    surgery, reference = Surgery(toy.trunk, method, tasks=NAMES), Surgery(other.trunk, method, tasks=NAMES)
    for name, wrong, fragment in STEPS:
        before, losses = gradients(toy), wrong(toy)
        actual = message(lambda losses=losses: surgery.loss(losses))  # type: ignore[misc]
        assert fragment in actual, name
        same(gradients(toy), before)
        for model, own in ((toy, surgery), (other, reference)):
            model.zero_grad()
            own.loss(model.losses()).backward()
        same(gradients(toy), gradients(other))
    assert repr(surgery.method.state_dict()) == repr(reference.method.state_dict())


def test_the_task_of_a_gradient_that_is_not_finite() -> None:
    toy = Toy()
    losses = but(toy, lambda loss: loss + infinite_slope(toy.trunk[2].bias))
    assert "gradient of task b is nan, first in 2.bias" in message(
        lambda: Surgery(toy.trunk).loss(dict(zip("abc", losses, strict=True)))
    )
    with_gradients = but(toy, lambda loss: loss + infinite_slope(toy.trunk[2].bias))
    assert "gradient of task 1 is nan, first in 2.bias" in message(lambda: TaskGradients(with_gradients, toy.trunk))


@pytest.mark.parametrize("method", ["pcgrad", "sum"])
def test_losses_that_are_stacked_are_told_apart(method: str) -> None:
    toy, other = Toy(), Toy()
    Surgery(toy.trunk, method).loss(torch.stack(toy.losses())).backward()
    Surgery(other.trunk, method).loss(other.losses()).backward()
    for one, two in zip(gradients(toy), gradients(other), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-15)
    message(lambda: Surgery(toy.trunk[2], "pcgrad").loss(torch.stack(toy.losses())))  # a forgotten layer is still told


def test_outputs_that_are_concatenated_are_told_apart() -> None:
    toy, other = Toy(), Toy()
    features = toy.trunk(toy.inputs)
    outputs = torch.cat([head(features) for head in toy.heads], dim=1)
    scales = 3.0 ** torch.arange(TASKS)
    Surgery(toy.trunk, "mgda").loss(((outputs - toy.targets) ** 2).mean(0) * scales).backward()
    Surgery(other.trunk, "mgda").loss(other.losses()).backward()
    for one, two in zip(gradients(toy), gradients(other), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)


def test_a_mapping_keeps_its_order_where_positions_matter() -> None:
    toy, other = Toy(), Toy()
    surgery = Surgery(toy.trunk, "gradnorm[parameters_of=shared]")
    for step in range(3):
        toy.zero_grad()
        losses = dict(zip(NAMES, toy.losses(), strict=True))
        surgery.loss(losses if step % 2 == 0 else dict(reversed(losses.items()))).backward()
        other.zero_grad()
        backward(dict(reversed(list(zip(NAMES, other.losses(), strict=True)))) if step % 2 else
                 dict(zip(NAMES, other.losses(), strict=True)), surgery.method.spec, other.trunk)  # fmt: skip
    fixed = Toy()
    reference = Surgery(fixed.trunk, "gradnorm[parameters_of=shared]")
    for _ in range(3):
        fixed.zero_grad()
        reference.loss(fixed.losses()).backward()
    same(gradients(toy), gradients(fixed))
    same(gradients(other), gradients(fixed))
    assert "the tasks are a, b, c" in message(lambda: surgery.loss(dict(zip("abd", toy.losses(), strict=True))))


def test_wrong_heads_are_told_by_the_graph() -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, tasks=NAMES, heads=[toy.heads[1], toy.heads[0], toy.heads[2]])
    text = message(lambda: surgery.loss(toy.losses()))
    assert text.startswith("heads gives task b a parameter of shape") and "but loss a reaches it" in text


@pytest.mark.parametrize("method", ["pcgrad", "sum"])
def test_an_input_that_requires_a_gradient(method: str) -> None:
    """PEFT makes the output of frozen layers such an input, for gradient checkpointing."""
    toy, other = Toy(), Toy()
    toy.inputs.requires_grad_()
    with pytest.warns(UserWarning, match="add it to shared if it is trained, or detach it"):
        Surgery(toy.trunk, method).loss(toy.losses()).backward()
    Surgery(other.trunk, method).loss(other.losses()).backward()
    same(gradients(toy), gradients(other))
    assert toy.inputs.grad is None
    Surgery([toy.trunk, toy.inputs], method).loss(toy.losses()).backward()
    assert toy.inputs.grad is not None
    own = torch.ones((), dtype=torch.float64, requires_grad=True)  # of one task alone: as a head
    Surgery(other.trunk, method).loss(but(other, lambda loss: loss * own)).backward()
    assert own.grad is not None


def test_a_task_without_labels_is_named() -> None:
    toy = Toy()
    losses = dict(zip(NAMES, [*toy.losses()[:2], None], strict=True))
    assert "task c has None" in message(lambda: Surgery(toy.trunk, "gradnorm[parameters_of=shared]").loss(losses))
    Surgery(toy.trunk, "mgda").loss(losses).backward()
    assert all(parameter.grad is None for parameter in toy.heads[2].parameters())


# Representation and further batches

REPRESENTATIONS: list[tuple[str, Callable[[Toy, torch.Tensor], Any], str]] = [
    ("missing", lambda t, z: None, "give representation"),
    ("empty", lambda t, z: [], "give representation"),
    ("number", lambda t, z: 3, "not an int"),
    ("text", lambda t, z: "z", "not a str"),
    ("dict", lambda t, z: {"z": z}, "not a dict"),
    ("None in it", lambda t, z: [z, None], "with their graph"),
    ("detached", lambda t, z: z.detach(), "with their graph"),
    ("parameter", lambda t, z: t.trunk[0].weight, "with their graph"),
    ("nested list", lambda t, z: [[z]], "with their graph"),
    ("of another forward", lambda t, z: t.trunk(t.inputs), "on a way around the representation"),
    ("computed from the other", lambda t, z: [z, z * 2.0], "computed from another"),
]


@pytest.mark.parametrize(("wrong", "fragment"), [r[1:] for r in REPRESENTATIONS], ids=[r[0] for r in REPRESENTATIONS])
def test_a_wrong_representation(wrong: Callable[[Toy, torch.Tensor], Any], fragment: str) -> None:
    toy, other = Toy(), Toy()
    features = toy.trunk(toy.inputs)
    losses = [head(features).square().mean() for head in toy.heads]
    surgery = Surgery(toy.trunk, "mgda", gram_of="representation")
    assert fragment in message(lambda: surgery.loss(losses, representation=wrong(toy, features)))
    assert all(parameter.grad is None for parameter in toy.parameters())
    surgery.loss(losses, representation=[features, features]).backward()  # listed twice counts once
    features = other.trunk(other.inputs)
    losses = [head(features).square().mean() for head in other.heads]
    Surgery(other.trunk, "mgda", gram_of="representation").loss(losses, representation=features).backward()
    same(gradients(toy), gradients(other))


FURTHER: list[tuple[str, Call, str]] = [
    ("None", lambda t: None, "give further= 2 lists of 3 losses"),
    ("number", lambda t: 3, "give further= 2 lists of 3 losses, not an int"),
    ("sum", lambda t: sum(t.losses()), "give further= 2 lists of 3 losses, not a Tensor"),
    ("text", lambda t: "ab", "give further= 2 lists of 3 losses"),
    ("dict", lambda t: {"a": t.losses(), "b": t.losses()}, "give further= 2 lists of 3 losses"),
    ("Nones", lambda t: [None, None], "give further= 2 lists of 3 losses"),
    ("scalars", lambda t: [sum(t.losses()), sum(t.losses())], "not their sum"),
    ("flat", lambda t: t.losses(), "not their sum"),
    ("too few", lambda t: [t.losses(), t.losses()[:2]], "give further= 2 lists of 3 losses"),
    ("a task without", lambda t: [[*t.losses()[:2], None], t.losses()], "every batch needs the same tasks"),
    ("the same batch", lambda t: [t.losses()] * 2, "a loss is in two of them"),
    ("numbers", lambda t: [[1.0] * 3, t.losses()], "loss 0 is a float"),
    ("freed", lambda t: [freed(t), t.losses()], "freed by an earlier"),
    ("NaN", lambda t: [[loss * torch.nan for loss in t.losses()], t.losses()], "gradient of task 0 is nan"),
]


@pytest.mark.parametrize(("wrong", "fragment"), [row[1:] for row in FURTHER], ids=[row[0] for row in FURTHER])
def test_wrong_further_batches(wrong: Call, fragment: str) -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, Between())
    assert fragment in message(lambda: surgery.loss(toy.losses(), further=wrong(toy)))
    assert all(parameter.grad is None for parameter in toy.parameters())
    surgery.loss(toy.losses(), further=(iter(toy.losses()) for _ in range(2))).backward()
    assert np.isfinite(toy.update()).all()

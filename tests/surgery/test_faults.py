"""Faults of a user's call: each is one line of our own, and the next good step is as if it had not happened."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from library_cases import TASKS, Between, Biggest, Named, Toy, flat
from torch import nn

from mtlbench import CellError, Method, SolverError, Surgery, TaskGradients, UsageError, backward, get_method
from mtlbench.contract.method import Parameters
from mtlbench.contract.observation import Observation, Vector
from mtlbench.engine.step import NotFinite

OURS = (UsageError, NotFinite, CellError, SolverError)
NAMES = ["a", "b", "c"]
Call = Callable[[Toy], Any]


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(OURS) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def gradients(toy: nn.Module) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in toy.parameters()]


def same(actual: list[torch.Tensor | None], reference: list[torch.Tensor | None]) -> None:
    assert [gradient is None for gradient in actual] == [gradient is None for gradient in reference]
    for one, other in zip(actual, reference, strict=True):
        assert one is None or other is None or torch.equal(one, other)


@dataclass
class Bad(Method):
    """Counts its calls, draws a number, and then does what a test asks for."""

    name = "bad"
    state = "K"
    act: Any = None
    calls: int = field(default=0, init=False)
    numbers: Any = field(default_factory=list, init=False)

    def weights(self, observation: Observation) -> Vector:
        self.calls += 1
        self.numbers.append(float(self.generator.random()))
        self.extra = self.calls  # an attribute that is no field
        return np.ones(observation.tasks) if self.act is None else self.act(observation)


def throw(error: BaseException) -> Callable[[Observation], Vector]:
    def act(observation: Observation) -> Vector:
        raise error

    return act


# What can be wrong with Surgery(...)

ARGUMENTS: list[tuple[str, Call, str]] = [
    ("shared is None", lambda t: Surgery(None), "not None"),
    ("shared is a name", lambda t: Surgery("trunk"), "not a str"),
    ("shared is a number", lambda t: Surgery(3), "not an int"),
    ("shared is numbers", lambda t: Surgery([1, 2]), "not an int"),
    ("shared is a class", lambda t: Surgery(nn.Linear), "the class Linear (give an object of it)"),
    ("shared is a method", lambda t: Surgery(t.trunk.parameters), "the function parameters (call it)"),
    ("shared is an optimizer", lambda t: Surgery(torch.optim.SGD(t.parameters(), lr=1.0)), "not an optimizer"),
    ("shared has None", lambda t: Surgery([t.trunk, None]), "not None"),
    ("shared is a set", lambda t: Surgery(set(t.trunk.parameters())), "no order"),
    ("shared holds itself", lambda t: Surgery(endless()), "holds itself"),
    ("shared is an array", lambda t: Surgery(np.zeros(3)), "not a float64"),
    ("shared is buffers", lambda t: Surgery(nn.BatchNorm1d(3).buffers()), "such as buffers"),
    ("shared is a state", lambda t: Surgery(t.trunk.state_dict()), "pass the module"),
    ("shared is .data", lambda t: Surgery([p.data for p in t.shared]), "pass the module"),
    ("shared is frozen", lambda t: Surgery(t.trunk.requires_grad_(False)), "unfreeze some"),
    ("shared was read", lambda t: Surgery(spent(t.trunk.parameters())), "only once"),
    ("shared and method swapped", lambda t: Surgery("pcgrad", t.trunk), "shared must be"),
    ("method is None", lambda t: Surgery(t.trunk, None), "method must be a name, a spec or a Method, not None"),
    ("method is a class", lambda t: Surgery(t.trunk, Named), "the class Named"),
    ("method is a function", lambda t: Surgery(t.trunk, lambda seen: 1), "the function <lambda>"),
    ("method is foreign", lambda t: Surgery(t.trunk, object()), "not an object"),
    ("method is empty", lambda t: Surgery(t.trunk, ""), "cannot read ''"),
    ("method is unknown", lambda t: Surgery(t.trunk, "pc-grad"), "did you mean pcgrad?"),
    ("method has a rate", lambda t: Surgery(t.trunk, "pcgrad[base_lr=1]"), "base_lr is for mtlbench run"),
    ("method of single tasks", lambda t: Surgery(t.trunk, "stl"), "did you mean sum?"),
    ("too few tasks", lambda t: Surgery(t.trunk, Named(least=5), tasks=3), "at least 5 tasks, got 3"),
    ("data_parallel is a name", lambda t: Surgery(t.trunk, data_parallel="ddp"), "'auto', False or a process group"),
    ("data_parallel is True", lambda t: Surgery(t.trunk, data_parallel=True), "not True"),
    ("scaler is a class", lambda t: Surgery(t.trunk, scaler=torch.amp.GradScaler), "the class GradScaler"),
    ("scaler is True", lambda t: Surgery(t.trunk, scaler=True), "not a bool"),
    ("scaler is a module", lambda t: Surgery(t.trunk, scaler=t.trunk), "not a Sequential"),
    ("skip is text", lambda t: Surgery(t.trunk, skip_zero_rows="yes"), "skip_zero_rows must be True or False"),
    ("skip is a tensor", lambda t: Surgery(t.trunk, skip_zero_rows=torch.ones(2)), "must be True or False"),
    ("skip without layers", lambda t: Surgery(t.shared, skip_zero_rows=True), "pass shared as a module"),
    ("gram_of is unknown", lambda t: Surgery(t.trunk, gram_of="all"), "gram_of must be shared, last_shared_layer"),
    ("gram_of is a list", lambda t: Surgery(t.trunk, gram_of=[]), "not []"),
    ("gram_of of losses", lambda t: Surgery(t.trunk, "sum", gram_of="representation"), "reads no Gram matrix"),
    ("gram_of needs a layer", lambda t: Surgery(t.trunk, gram_of="last_shared_layer"), "pass last_shared_layer="),
    ("layer is a name", lambda t: Surgery(t.trunk, last_shared_layer="2"), "not a str"),
    ("layer is empty", lambda t: Surgery(t.trunk, last_shared_layer=[]), "give the layer itself"),
    ("layer has none", lambda t: Surgery(t.trunk, last_shared_layer=nn.Tanh()), "give the layer itself"),
    ("layer is frozen", lambda t: Surgery(t.trunk, last_shared_layer=t.trunk[0].requires_grad_(False)), "give the layer"),
    ("layer is a head", lambda t: Surgery(t.trunk, last_shared_layer=t.heads[0]), "not among the shared"),
    ("heads is a number", lambda t: Surgery(t.trunk, heads=3), "not an int"),
    ("heads is a module", lambda t: Surgery(t.trunk, heads=t.heads[0]), "not a Linear"),
    ("heads is a tensor", lambda t: Surgery(t.trunk, heads=torch.zeros(3)), "not a Tensor"),
    ("heads has numbers", lambda t: Surgery(t.trunk, heads=[1, 2, 3]), "heads must be"),
    ("heads has two", lambda t: Surgery(t.trunk, tasks=3, heads=t.heads[:2]), "2 groups for 3 tasks"),
    ("heads has one twice", lambda t: Surgery(t.trunk, heads=[t.heads[0]] * 3), "list it once"),
    ("heads are shared", lambda t: Surgery(t.trunk, heads=[t.trunk, *t.heads[1:]]), "list it once"),
    ("heads by other names", lambda t: Surgery(t.trunk, tasks=NAMES, heads={"a": t.heads[0]}), "the same names"),
    ("heads by names alone", lambda t: Surgery(t.trunk, heads=dict(zip(NAMES, t.heads))), "tasks must be a list"),
    *[
        (f"{name}={value!r}", lambda t, name=name, value=value: Surgery(t.trunk, **{name: value}), f"{name} must be")
        for name in ("renew_every", "accumulate")
        for value in (0, -1, True, 1.5, 2.0, "2", None, [])
    ],
    *[
        (f"tasks={value!r}", lambda t, value=value: Surgery(t.trunk, tasks=value), fragment)
        for value, fragment in (
            (0, "at least 1, not 0"),
            (-1, "at least 1, not -1"),
            (True, "at least 1, not True"),
            (2.5, "a list of K different names, not 2.5"),
            ("abc", "a list of K different names, not 'abc'"),
            (b"abc", "a list of K different names"),
            ([], "a list of K different names"),
            (["a", "a"], "a list of K different names"),
            ([1, "1"], "a list of K different names"),
            ({"a": 1}, "a list of K different names"),
            ({"a"}, "a list of K different names"),
            (torch.tensor(3), "a list of K different names"),
            (object(), "a list of K different names"),
            ([None], "a task's name must be one line of text"),
            ([["a"]], "a task's name must be one line of text"),
            (["a\nb"], "a task's name must be one line of text"),
            ([""], "a task's name must be one line of text"),
        )
    ],
]  # fmt: skip


def endless() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


def spent(generator: Any) -> Any:
    list(generator)
    return generator


@pytest.mark.parametrize(("call", "fragment"), [row[1:] for row in ARGUMENTS], ids=[row[0] for row in ARGUMENTS])
def test_a_wrong_argument(call: Call, fragment: str) -> None:
    toy = Toy()
    assert fragment in message(lambda: call(toy))
    assert all("forward" not in vars(module) for module in toy.modules())


SHARED: list[tuple[str, Call]] = [
    ("module", lambda t: t.trunk),
    ("modules", lambda t: [t.trunk[0], t.trunk[2]]),
    ("generator", lambda t: t.trunk.parameters()),
    ("names", lambda t: t.trunk.named_parameters()),
    ("dict", lambda t: dict(t.trunk.named_parameters())),
    ("dict of modules", lambda t: {"first": t.trunk[0], "last": t.trunk[2]}),
    ("ModuleDict", lambda t: nn.ModuleDict({"first": t.trunk[0], "last": t.trunk[2]})),
    ("ParameterList", lambda t: nn.ParameterList(t.trunk.parameters())),
    ("parameter groups", lambda t: torch.optim.SGD(t.trunk.parameters(), lr=1.0).param_groups),
    ("twice", lambda t: [t.trunk, *t.trunk.parameters()]),
    ("DataParallel", lambda t: nn.DataParallel(t.trunk)),
    ("compiled", lambda t: torch.compile(t.trunk, backend="eager")),
    ("with an empty one", lambda t: [t.trunk, nn.Parameter(torch.zeros(0))]),
    ("with an unreached one", lambda t: [t.trunk, nn.Linear(2, 2).double()]),
]


@pytest.mark.parametrize("shared", [row[1] for row in SHARED], ids=[row[0] for row in SHARED])
def test_ways_to_give_the_shared_parameters(shared: Call) -> None:
    toy, other = Toy(), Toy()
    given = shared(toy)
    surgery = Surgery(given, "pcgrad")
    surgery.loss(toy.losses()).backward()
    Surgery(other.trunk, "pcgrad").loss(other.losses()).backward()
    same(gradients(toy), gradients(other))
    known = {id(parameter) for parameter in toy.parameters()}
    assert all(p.grad is None for p in surgery.parameters.values() if id(p) not in known)


OPTIONS: list[tuple[str, Callable[[Toy], dict[str, Any]]]] = [
    ("tasks", lambda t: {"tasks": np.int64(TASKS)}),
    ("names", lambda t: {"tasks": np.array(NAMES)}),
    ("numbers as names", lambda t: {"tasks": range(TASKS)}),
    ("numpy counts", lambda t: {"renew_every": np.int64(1), "accumulate": np.int32(1)}),
    ("numpy truth", lambda t: {"skip_zero_rows": np.bool_(False)}),
    ("scaler off", lambda t: {"scaler": torch.amp.GradScaler("cpu", enabled=False)}),
    ("heads", lambda t: {"heads": t.heads}),
    ("heads by name", lambda t: {"tasks": NAMES, "heads": dict(reversed(list(zip(NAMES, t.heads, strict=True))))}),
    ("heads in a ModuleDict", lambda t: {"tasks": NAMES, "heads": nn.ModuleDict(dict(zip(NAMES, t.heads, strict=True)))}),
    ("layer that is not read", lambda t: {"last_shared_layer": t.trunk[2]}),
    ("no other processes", lambda t: {"data_parallel": False}),
]  # fmt: skip


@pytest.mark.parametrize("options", [row[1] for row in OPTIONS], ids=[row[0] for row in OPTIONS])
def test_options_that_change_nothing(options: Callable[[Toy], dict[str, Any]]) -> None:
    toy, other = Toy(), Toy()
    Surgery(toy.trunk, "pcgrad", **options(toy)).loss(toy.losses()).backward()
    Surgery(other.trunk, "pcgrad").loss(other.losses()).backward()
    same(gradients(toy), gradients(other))


# What can be wrong with Surgery.loss(...)


def but(toy: Toy, change: Callable[[torch.Tensor], Any]) -> list[Any]:
    """Return the losses, the second one changed."""
    losses = toy.losses()
    return [losses[0], change(losses[1]), losses[2]]


def without_graph(mode: Any, toy: Toy) -> list[torch.Tensor]:
    with mode():
        return toy.losses()


def freed(toy: Toy) -> list[torch.Tensor]:
    losses = toy.losses()
    torch.autograd.grad(losses[1], toy.shared)
    return losses


def changed_in_place(toy: Toy) -> list[torch.Tensor]:
    losses = toy.losses()
    with torch.no_grad():
        toy.trunk[2].weight.mul_(1.0)
    return losses


def of_inputs(toy: Toy) -> torch.Tensor:
    return toy.inputs.clone().requires_grad_().sum()


def all_reach_an_input(toy: Toy) -> list[torch.Tensor]:
    extra = torch.zeros((), dtype=torch.float64, requires_grad=True)
    return [loss + extra for loss in toy.losses()]


def infinite_slope(parameter: torch.Tensor) -> torch.Tensor:
    """A term of value 0 whose gradient is NaN."""
    return (parameter * 0.0).abs().sum().sqrt()


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
    ("numbers", lambda t: but(t, torch.Tensor.item), "loss b is a float, not a tensor with a graph: pass it before .item()"),
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
    ("common input", all_reach_an_input, "losses a and b both reach a tensor of shape () that is not in shared"),
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
        lambda: Surgery(toy.trunk).loss(dict(zip("abc", losses)))
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


# Faults of methods


@dataclass
class Tracking(Biggest):
    """Keeps K × P numbers."""

    name = "tracking"
    state: ClassVar[Literal["none", "K", "K × P"]] = "K × P"  # type: ignore[misc]


ANSWERS: list[tuple[str, Any, str]] = [
    ("raises", throw(ValueError("x\ny")), "method bad: weights() raised ValueError: x y"),
    ("StopIteration", throw(StopIteration()), "raised StopIteration"),
    ("SolverError", throw(SolverError("no minimum")), "no minimum"),
    ("NaN", lambda seen: np.full(seen.tasks, np.nan), "[nan, nan, nan], not 3 finite numbers"),
    ("K + 1", lambda seen: np.ones(seen.tasks + 1), "not 3 finite numbers"),
    ("None", lambda seen: None, "returned weights None"),
    ("text", lambda seen: "abc", "returned weights 'abc'"),
    ("generator", lambda seen: (1.0 for _ in range(seen.tasks)), "not 3 finite numbers"),
    ("tensors with graphs", lambda seen: [torch.ones((), requires_grad=True)] * 3, "not 3 finite numbers"),
]  # fmt: skip


@pytest.mark.parametrize(("act", "fragment"), [row[1:] for row in ANSWERS], ids=[row[0] for row in ANSWERS])
def test_a_method_that_fails_is_put_back(act: Any, fragment: str) -> None:
    toy, other = Toy(), Toy()
    surgery, reference = Surgery(toy.trunk, Bad(act)), Surgery(other.trunk, Bad())
    assert fragment in message(lambda: surgery.loss(toy.losses()))
    assert surgery.weights is None and surgery.losses is None
    surgery.method.act = None  # type: ignore[attr-defined]
    assert not hasattr(surgery.method, "extra")
    surgery.loss(toy.losses()).backward()
    reference.loss(other.losses()).backward()
    same(gradients(toy), gradients(other))
    assert surgery.method.numbers == reference.method.numbers  # type: ignore[attr-defined]
    assert surgery.method.calls == 1  # type: ignore[attr-defined]


def test_an_interrupted_method_is_put_back() -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, Bad(throw(KeyboardInterrupt())), accumulate=2)
    surgery.loss(toy.losses()).backward()
    with pytest.raises(KeyboardInterrupt) as caught:
        surgery.loss(toy.losses())
    assert caught.value.__notes__ == ["the next call is micro-batch 1 of 2 again"]
    assert surgery.method.calls == 0  # type: ignore[attr-defined]
    assert all(parameter.grad is None for parameter in toy.parameters())


def test_a_large_state_is_not_copied_and_the_message_says_so() -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, Tracking(lambda update: update * torch.nan))
    assert "the state of tracking may have changed" in message(lambda: surgery.loss(toy.losses()))
    assert "may have changed" not in message(lambda: surgery.loss([]))


def test_a_failed_report_after_the_step_is_undone() -> None:
    @dataclass
    class Reported(Bad):
        name = "reported"
        reads_after = True

        def after_step(self, losses: Vector) -> None:
            self.calls += 10
            raise ValueError("no")

    toy = Toy()
    surgery = Surgery(toy.trunk, Reported())
    surgery.loss(toy.losses()).backward()
    assert "after_step() raised ValueError: no" in message(lambda: surgery.after_step([1.0, 2.0, 3.0]))
    assert surgery.method.calls == 1  # type: ignore[attr-defined]


AFTER: list[tuple[str, Any, str]] = [
    ("None", None, "not None"),
    ("number", 3, "not an int"),
    ("empty", [], "at least one loss"),
    ("too few", [1.0], "1 losses for 3 tasks"),
    ("all None", [None] * 3, "all losses are None"),
    ("a None", [1.0, 2.0, None], "3 finite losses"),
    ("text", list("abc"), "loss 0 is a str, not a tensor or number"),
    ("truth", [True] * 3, "loss 0 is a bool"),
    ("complex", [1j] * 3, "loss 0 is a complex"),
    ("huge", [10**400] * 3, "loss 0 is too large"),
    ("NaN", [float("nan")] * 3, "3 finite losses"),
    ("matrix", torch.ones(2, 2), "shape (2, 2)"),
]  # fmt: skip


@pytest.mark.parametrize(("losses", "fragment"), [row[1:] for row in AFTER], ids=[row[0] for row in AFTER])
def test_wrong_losses_after_the_step(losses: Any, fragment: str) -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, "famo")
    surgery.loss(toy.losses()).backward()
    state = repr(surgery.state_dict())
    assert fragment in message(lambda: surgery.after_step(losses))
    assert repr(surgery.state_dict()) == state
    surgery.after_step([np.float32(1.0), torch.tensor(2.0), 3])
    assert repr(surgery.state_dict()) != state


# Micro-batches

MICRO: list[tuple[str, Callable[[Toy, Surgery], Any], str]] = [
    ("NaN", lambda t, s: s.loss([loss * torch.nan for loss in t.losses()]), "loss of task 0 is nan"),
    ("fewer", lambda t, s: s.loss(t.losses()[:2]), "micro-batch 2 of 3 has the losses of other tasks than the first"),
    ("a None", lambda t, s: s.loss([*t.losses()[:2], None]), "has the losses of other tasks"),
    ("freed", lambda t, s: s.loss(freed(t)), "freed"),
    ("text", lambda t, s: s.loss("abc"), "not a str"),
    ("frozen", lambda t, s: (t.trunk[0].requires_grad_(False), s.loss(t.losses())), "has other shared parameters"),
]  # fmt: skip


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize(("wrong", "fragment"), [row[1:] for row in MICRO], ids=[row[0] for row in MICRO])
def test_a_fault_in_a_micro_batch_starts_the_step_again(wrong: Any, fragment: str, skip: bool) -> None:
    toy, other = Toy(), Toy()
    surgery = Surgery(toy.trunk, "pcgrad", accumulate=3, skip_zero_rows=skip)
    surgery.loss([7.0 * loss for loss in toy.losses()]).backward()
    text = message(lambda: wrong(toy, surgery))
    assert fragment in text and text.endswith("; the next call is micro-batch 1 of 3 again")
    toy.requires_grad_(True)
    reference = Surgery(other.trunk, "pcgrad", accumulate=3, skip_zero_rows=skip)
    for model, own in ((toy, surgery), (other, reference)):
        for scale in (1.0, 2.0, 3.0):
            assert all(parameter.grad is None for parameter in model.parameters())
            own.loss([scale * loss for loss in model.losses()]).backward()
    same(gradients(toy), gradients(other))


def test_closing_between_micro_batches_starts_the_step_again() -> None:
    toy, other = Toy(), Toy()
    surgery, reference = Surgery(toy.trunk, accumulate=2), Surgery(other.trunk, accumulate=2)
    surgery.loss([7.0 * loss for loss in toy.losses()]).backward()
    surgery.close()
    for model, own in ((toy, surgery), (other, reference)):
        own.loss(model.losses()).backward()
        own.loss(model.losses()).backward()
    same(gradients(toy), gradients(other))


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


@pytest.mark.parametrize(
    "change",
    [
        lambda state: None,
        lambda state: [],
        lambda state: {},
        lambda state: {**state, "steps": "x"},
        lambda state: {**state, "steps": -1},
        lambda state: {**state, "steps": True},
        lambda state: {**state, "renewed": 3},
        lambda state: {**state, "renewed": [[0, 1, 2], [1.0]]},
        lambda state: {**state, "renewed": [[0], [float("nan")]]},
        lambda state: {**state, "renewed": [["x"], [1.0]]},
        lambda state: {**state, "renewed": [[10**30], ["x"]]},
    ],
)
def test_a_wrong_state(change: Callable[[dict[str, Any]], Any]) -> None:
    toy = Toy()
    surgery = Surgery(toy.trunk, "gradnorm[parameters_of=shared]", renew_every=2)
    surgery.loss(toy.losses()).backward()
    state = surgery.state_dict()
    assert "Surgery.state_dict()" in message(lambda: surgery.load_state_dict(change(state)))
    assert repr(surgery.state_dict()) == repr(state)
    surgery.load_state_dict(state)


# backward and TaskGradients

CALLS: list[tuple[str, Call, str]] = [
    ("backward, swapped", lambda t: backward(t.trunk, "sum", t.losses()), "is computed from other tensors"),
    ("backward, swapped again", lambda t: backward(t.losses(), t.trunk, "sum"), "not a str"),
    ("backward, method", lambda t: backward(t.losses(), ["sum"], t.trunk), "method must be"),
    ("backward, class", lambda t: backward(t.losses(), Named, t.trunk), "the class Named"),
    ("backward, losses", lambda t: backward(3, "sum", t.trunk), "losses must be"),
    ("backward, representation", lambda t: backward(t.losses(), "sum", t.trunk, representation=3), "not an int"),
    ("backward, further", lambda t: backward(t.losses(), "sum", t.trunk, further=3), "give no further="),
    ("backward, layer", lambda t: backward(t.losses(), "sum", t.trunk, last_shared_layer=[]), "give the layer"),
    ("backward, processes", lambda t: backward(t.losses(), "sum", t.trunk, data_parallel=1), "data_parallel"),
    ("gradients, swapped", lambda t: TaskGradients(t.trunk, t.losses()), "computed from other tensors"),
    ("gradients, freed", lambda t: TaskGradients(freed(t), t.trunk), "freed"),
    ("gradients, None", lambda t: TaskGradients([*t.losses()[:2], None], t.trunk), "leave out those that are None"),
    ("gradients, NaN", lambda t: TaskGradients(but(t, lambda x: x * torch.nan), t.trunk), "loss of task 1 is nan"),
    ("gradients, unreached", lambda t: TaskGradients([h.weight.sum() for h in t.heads], t.trunk), "reaches no shared"),
    *[
        (f"weights {value!r}", lambda t, v=value, f=function: getattr(TaskGradients(t.losses(), t.trunk), f)(v), "weights")
        for value in (None, "x", 3, [1.0], list("abc"), [np.nan] * 3, [1j] * 3, [None] * 3, [[1.0]] * 3, [1.0, [2.0], 3.0])
        for function in ("combine", "backward")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("call", "fragment"), [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_wrong_calls_of_functions(call: Call, fragment: str) -> None:
    toy = Toy()
    assert fragment in message(lambda: call(toy))
    assert all(parameter.grad is None for parameter in toy.parameters())


def test_task_gradients_of_stacked_losses_know_the_heads() -> None:
    toy = Toy()
    actual = TaskGradients(torch.stack(toy.losses()), toy.trunk)
    for own, head in zip(actual.heads, toy.heads, strict=True):
        assert {id(leaf) for leaf in own} == {id(parameter) for parameter in head.parameters()}
    assert flat(list(actual.jacobian)) == pytest.approx(toy.jacobian().ravel(), rel=1e-12, abs=1e-15)


@dataclass
class OfTheLayer(Named):
    @property
    def gram_of(self) -> Parameters:
        return "last_shared_layer"


def test_a_method_that_reads_a_layer_asks_for_it() -> None:
    text = message(lambda: Surgery(Toy().trunk, OfTheLayer()))
    assert text == "M reads the last shared layer: pass last_shared_layer="
    assert message(lambda: Surgery(Toy().trunk, "gradnorm")).endswith("last_shared_layer= or parameters_of=shared")


@pytest.mark.parametrize("method", ["mgda", "cagrad", "imtl-g", "aligned-mtl", "graddrop", "uw", "stch"])
def test_gradients_and_losses_of_exactly_zero(method: str) -> None:
    toy = Toy()
    Surgery(toy.trunk, get_method(method)).loss([loss * 0.0 for loss in toy.losses()]).backward()
    assert not toy.update().any()


@pytest.mark.parametrize("method", ["uw", "stch", "famo"])
def test_negative_losses_where_logarithms_are_taken(method: str) -> None:
    toy = Toy()
    assert f"method {method}" in message(lambda: Surgery(toy.trunk, method).loss([-loss for loss in toy.losses()]))

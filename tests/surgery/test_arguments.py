"""Wrong and right arguments of Surgery, backward and TaskGradients: a wrong one is one line of our own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from fault_cases import NAMES, Call, but, freed, gradients, message, same
from library_cases import TASKS, Named, Toy, flat
from torch import nn

from mtlbench import Surgery, TaskGradients, backward, get_method
from mtlbench.contract.method import Parameters

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
    ("layer is empty", lambda t: Surgery(t.trunk, "gradnorm", last_shared_layer=[]), "give the layer itself"),
    ("layer has none", lambda t: Surgery(t.trunk, "gradnorm", last_shared_layer=nn.Tanh()), "give the layer itself"),
    ("layer is frozen", lambda t: Surgery(t.trunk, "gradnorm", last_shared_layer=frozen(t.trunk[0])), "give the layer"),
    ("layer is a head", lambda t: Surgery(t.trunk, last_shared_layer=t.heads[0]), "not among the shared"),
    ("heads is a number", lambda t: Surgery(t.trunk, heads=3), "not an int"),
    ("heads is a module", lambda t: Surgery(t.trunk, heads=t.heads[0]), "not a Linear"),
    ("heads is a tensor", lambda t: Surgery(t.trunk, heads=torch.zeros(3)), "not a Tensor"),
    ("heads has numbers", lambda t: Surgery(t.trunk, heads=[1, 2, 3]), "heads must be"),
    ("heads has two", lambda t: Surgery(t.trunk, tasks=3, heads=t.heads[:2]), "2 groups for 3 tasks"),
    ("heads has one twice", lambda t: Surgery(t.trunk, heads=[t.heads[0]] * 3), "list it once"),
    ("heads are shared", lambda t: Surgery(t.trunk, heads=[t.trunk, *t.heads[1:]]), "list it once"),
    ("heads by other names", lambda t: Surgery(t.trunk, tasks=NAMES, heads={"a": t.heads[0]}), "the same names"),
    ("heads by names alone", lambda t: Surgery(t.trunk, heads={"a": t.heads[0]}), "tasks must be a list"),
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
            ([None], "a task's name must be one line of text"),
            ([["a"]], "a task's name must be one line of text"),
            (["a\nb"], "a task's name must be one line of text"),
            ([""], "a task's name must be one line of text"),
        )
    ],
]  # fmt: skip


def frozen(module: nn.Module) -> nn.Module:
    return module.requires_grad_(False)


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
    ("heads in a ModuleDict", lambda t: {"tasks": NAMES, "heads": nn.ModuleDict(zip(NAMES, t.heads, strict=True))}),
    ("layer that is not read", lambda t: {"last_shared_layer": t.trunk[2]}),
    ("no other processes", lambda t: {"data_parallel": False}),
]  # fmt: skip


@pytest.mark.parametrize("options", [row[1] for row in OPTIONS], ids=[row[0] for row in OPTIONS])
def test_options_that_change_nothing(options: Callable[[Toy], dict[str, Any]]) -> None:
    toy, other = Toy(), Toy()
    Surgery(toy.trunk, "pcgrad", **options(toy)).loss(toy.losses()).backward()
    Surgery(other.trunk, "pcgrad").loss(other.losses()).backward()
    same(gradients(toy), gradients(other))


# backward and TaskGradients

CALLS: list[tuple[str, Call, str]] = [
    ("backward, swapped", lambda t: backward(t.trunk, "sum", t.losses()), "is computed from other tensors"),
    ("backward, swapped again", lambda t: backward(t.losses(), t.trunk, "sum"), "not a str"),
    ("backward, method", lambda t: backward(t.losses(), ["sum"], t.trunk), "method must be"),
    ("backward, class", lambda t: backward(t.losses(), Named, t.trunk), "the class Named"),
    ("backward, losses", lambda t: backward(3, "sum", t.trunk), "losses must be"),
    ("backward, representation", lambda t: backward(t.losses(), "sum", t.trunk, representation=3), "not an int"),
    ("backward, further", lambda t: backward(t.losses(), "sum", t.trunk, further=3), "give no further="),
    ("backward, layer", lambda t: backward(t.losses(), "sum", t.trunk, last_shared_layer=1), "not an int"),
    ("backward, processes", lambda t: backward(t.losses(), "sum", t.trunk, data_parallel=1), "data_parallel"),
    ("gradients, swapped", lambda t: TaskGradients(t.trunk, t.losses()), "computed from other tensors"),
    ("gradients, freed", lambda t: TaskGradients(freed(t), t.trunk), "freed"),
    ("gradients, None", lambda t: TaskGradients([*t.losses()[:2], None], t.trunk), "leave out those that are None"),
    ("gradients, NaN", lambda t: TaskGradients(but(t, lambda x: x * torch.nan), t.trunk), "loss of task 1 is nan"),
    ("gradients, unreached", lambda t: TaskGradients([h.weight.sum() for h in t.heads], t.trunk), "reaches no shared"),
    *[
        (f"{function} {v!r}", lambda t, v=v, f=function: getattr(TaskGradients(t.losses(), t.trunk), f)(v), "weights")
        for v in (None, "x", 3, [1.0], list("abc"), [np.nan] * 3, [1j] * 3, [None] * 3, [[1.0]] * 3, [1.0, [2.0], 3.0])
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
